"""checkpoints, kinds of devices, idempotency keys"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("iteration", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("numerics", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_checkpoints_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_checkpoints_experiment_id_id", "checkpoints", ["experiment_id", "id"])
    op.create_index("ix_checkpoints_path", "checkpoints", ["path"])
    op.create_table(
        "idempotency_keys",
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_ms", "idempotency_keys", ["created_ms"])
    op.create_index("ix_experiments_digest_id", "experiments", ["digest", "id"])
    op.add_column("workers", sa.Column("kind", sa.Text(), server_default="cpu", nullable=False))
    op.add_column("experiments", sa.Column("requeued_ms", sa.BigInteger(), nullable=True))
    # Not by add_column, which leaves the CHECK to batch mode: that would make the table anew (core/store/README.md,
    # "Migrations").
    op.execute(
        "ALTER TABLE experiments ADD COLUMN checkpoint_row INTEGER DEFAULT '0' NOT NULL "
        "CONSTRAINT ck_experiments_checkpoint_row CHECK (checkpoint_row <= epochs_done)"
    )
    op.add_column("experiments", sa.Column("checkpoint_step", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("experiments", sa.Column("checkpoint_kind", sa.Text(), nullable=True))


def downgrade() -> None:
    for column in ("checkpoint_kind", "checkpoint_step", "checkpoint_row", "requeued_ms"):
        op.execute(f"ALTER TABLE experiments DROP COLUMN {column}")
    op.execute("ALTER TABLE workers DROP COLUMN kind")
    op.drop_index("ix_experiments_digest_id", "experiments")
    for table in ("idempotency_keys", "checkpoints"):
        op.drop_table(table)
