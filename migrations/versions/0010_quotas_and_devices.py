"""quotas of tokens, and sessions of the sign-in page; on what an experiment may train; how full a worker's GPU is"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_QUOTAS = ("max_queued", "max_running", "per_minute")
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
    op.add_column("experiments", sa.Column("device", sa.Text(), server_default="any", nullable=False))
    for column in _OF_A_GPU:
        op.add_column("workers", sa.Column(column, sa.Integer()))


def downgrade() -> None:
    for column in _OF_A_GPU:
        op.drop_column("workers", column)
    op.drop_column("experiments", "device")
    op.drop_table("sessions")
    for column in _QUOTAS:
        op.drop_column("tokens", column)
