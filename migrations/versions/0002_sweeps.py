"""sweeps, predictions, weights, and what an estimate needs"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FILTERS = ("sweep_id", "state", "dataset", "model", "importance_weight")


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _index_queued(*columns: str) -> None:
    queued = sa.text("state = 'queued'")
    op.drop_index("ix_experiments_queued", "experiments")
    op.create_index("ix_experiments_queued", "experiments", columns, sqlite_where=queued, postgresql_where=queued)


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", _id(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("preset", sa.Text(), nullable=True),
        sa.Column("grids", sa.Text(), nullable=False),
        sa.Column("next_position", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "predictions",
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("in_domain", sa.LargeBinary(), nullable=False),
        sa.Column("out_of_domain", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_predictions_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "epoch", name=op.f("pk_predictions")),
    )
    op.create_table(
        "weights",
        sa.Column("experiment_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("safetensors", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_weights_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_weights")),
    )
    op.add_column("experiments", sa.Column("attempt_epoch", sa.Integer(), server_default="0", nullable=False))
    op.add_column("experiments", sa.Column("epoch_seconds", sa.Double(), nullable=True))
    op.add_column("experiments", sa.Column("progress_ms", sa.BigInteger(), nullable=True))
    for column in _FILTERS:
        op.create_index(f"ix_experiments_{column}_id", "experiments", [column, "id"])
    _index_queued("state", "rank", "id")


def downgrade() -> None:
    op.execute("UPDATE experiments SET sweep_id = NULL, position = NULL")  # numbers of sweeps begin anew
    _index_queued("rank", "id")
    for column in _FILTERS:
        op.drop_index(f"ix_experiments_{column}_id", "experiments")
    # Not in batch mode: that would make the table anew, and lose its ids' memory (core/store/README.md, "Migrations").
    op.execute("ALTER TABLE experiments DROP COLUMN progress_ms")
    op.execute("ALTER TABLE experiments DROP COLUMN epoch_seconds")
    op.execute("ALTER TABLE experiments DROP COLUMN attempt_epoch")
    for table in ("weights", "predictions", "sweeps"):
        op.drop_table(table)
