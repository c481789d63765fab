"""quotas of tokens, and sessions of the sign-in page; on what an experiment may train; how full a worker's GPU is; what
has happened in all"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_QUOTAS = ("max_queued", "max_running", "per_minute")
_QUEUED = sa.text("state = 'queued'")
_INDEX = "ix_experiments_queued_by_device"
_COLUMNS = ("state", "owner", "device", "rank", "id", "requeued_ms")
_AT_A_TIME = 1000
_OF_A_GPU = ("memory_used_mib", "memory_total_mib", "utilisation")


def upgrade() -> None:
    for column in _QUOTAS:
        op.add_column("tokens", sa.Column(column, sa.Integer()))
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name=op.f("fk_sessions_token_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_token_id", "sessions", ["token_id"])
    op.create_table(
        "tallies",
        sa.Column("worker_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "name", "kind", name=op.f("pk_tallies")),
    )
    for table in ("sweeps", "experiments"):  # as everybody locks them
        op.add_column(table, sa.Column("device", sa.Text(), server_default="any", nullable=False))
    _give_tf32_to_gpus()
    # Beside the one that workers of before claim by; that goes once there are none.
    op.create_index(_INDEX, "experiments", _COLUMNS, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    for column in _OF_A_GPU:
        op.add_column("workers", sa.Column(column, sa.Integer()))


def downgrade() -> None:
    for column in _OF_A_GPU:
        op.drop_column("workers", column)
    op.drop_index(_INDEX, table_name="experiments")
    for table in ("sweeps", "experiments"):
        op.drop_column(table, "device")
    op.drop_table("tallies")
    op.drop_table("sessions")
    for column in _QUOTAS:
        op.drop_column("tokens", column)


def _give_tf32_to_gpus() -> None:
    """Which until now was looked for in the spec, as it is written (within a name, quotes are escaped). Locked in the
    order of their ids, as everybody locks them."""
    tx, last = op.get_bind(), 0
    experiments = sa.table("experiments", sa.column("id"), sa.column("spec"), sa.column("device"))
    in_tf32 = experiments.c.spec.contains('"precision":"tf32"')
    while True:
        some = sa.select(experiments.c.id).where(in_tf32, experiments.c.id > last).order_by(experiments.c.id)
        ids = tx.execute(some.limit(_AT_A_TIME).with_for_update()).scalars().all()
        if not ids:
            return
        tx.execute(sa.update(experiments).where(experiments.c.id.in_(ids)).values(device="gpu"))
        last = ids[-1]
