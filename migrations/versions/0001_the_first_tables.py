"""the first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _id() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "service",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_service_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service")),
    )
    op.create_table(
        "workers",
        sa.Column("id", _id(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.BigInteger(), nullable=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('idle', 'busy', 'leaving', 'gone', 'dead')", name=op.f("ck_workers_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "experiments",
        sa.Column("id", _id(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("pack_key", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("importance_weight", sa.Text(), nullable=False),
        sa.Column("sweep_id", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("queued_ms", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("epochs_done", sa.Integer(), nullable=False),
        sa.Column("epochs_total", sa.Integer(), nullable=False),
        sa.Column("requested", sa.Text(), nullable=True),
        sa.Column("worker_id", sa.BigInteger(), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("error_kind", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_traceback", sa.Text(), nullable=True),
        sa.Column("extends", sa.BigInteger(), nullable=True),
        sa.Column("diverged_at", sa.Integer(), nullable=True),
        sa.Column("replay_mismatch_from", sa.Integer(), nullable=True),
        sa.Column("provenance", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "error_kind IN ('diverged', 'bad_data', 'out_of_memory', 'lost', 'internal')",
            name=op.f("ck_experiments_error_kind"),
        ),
        sa.CheckConstraint("requested IN ('cancel', 'pause')", name=op.f("ck_experiments_requested")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_experiments_state"),
        ),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_experiments_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sqlite_autoincrement=True,
    )
    _create_partial_index("ix_experiments_queued", ["rank", "id"], "state = 'queued'")
    _create_partial_index("ix_experiments_running", ["id"], "state = 'running'")
    op.create_table(
        "curve_rows",
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("n_in_domain", sa.Integer(), nullable=False),
        sa.Column("n_out_of_domain", sa.Integer(), nullable=False),
        sa.Column("base_in_domain", sa.Integer(), nullable=False),
        sa.Column("base_out_of_domain", sa.Integer(), nullable=False),
        sa.Column("correct_in_domain", sa.Integer(), nullable=False),
        sa.Column("finite_in_domain", sa.Integer(), nullable=False),
        sa.Column("finite_out_of_domain", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.LargeBinary(), nullable=False),
        sa.Column("train_n_base", sa.Integer(), nullable=False),
        sa.Column("train_n_other", sa.Integer(), nullable=False),
        sa.Column("train_correct_base", sa.Integer(), nullable=False),
        sa.Column("train_correct_other", sa.Integer(), nullable=False),
        sa.Column("loss_from", sa.BigInteger(), nullable=True),
        sa.Column("loss_values", sa.LargeBinary(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_curve_rows_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "epoch", name=op.f("pk_curve_rows")),
    )
    op.create_table(
        "events",
        sa.Column("id", _id(), nullable=False),
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=True),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_events_experiment_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_events_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_experiment_id_id", "events", ["experiment_id", "id"])


def downgrade() -> None:
    for table in ("events", "curve_rows", "experiments", "workers", "service"):
        op.drop_table(table)


def _create_partial_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "experiments", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
