"""tokens; whose each experiment and sweep is, and in whose name what happened to it was done"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("used_ms", sa.BigInteger()),
        sa.Column("revoked_ms", sa.BigInteger()),
        sa.CheckConstraint("scope IN ('read', 'submit', 'admin')", name=op.f("ck_tokens_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("name", name=op.f("uq_tokens_name")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
        sqlite_autoincrement=True,
    )
    owners = op.create_table(
        "owners",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_turn", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_owners")),
    )
    op.bulk_insert(owners, [{"name": "local"}])
    for table in ("experiments", "sweeps"):
        op.add_column(table, sa.Column("owner", sa.Text(), server_default="local", nullable=False))
    op.add_column("events", sa.Column("actor", sa.Text()))
    _index_the_queue_by("state", "owner", "rank", "id")


def downgrade() -> None:
    _index_the_queue_by("state", "rank", "id")
    op.drop_column("events", "actor")
    for table in ("experiments", "sweeps"):
        op.drop_column(table, "owner")
    op.drop_table("owners")
    op.drop_table("tokens")


def _index_the_queue_by(*columns: str) -> None:
    op.drop_index("ix_experiments_queued", table_name="experiments")
    op.create_index("ix_experiments_queued", "experiments", columns, sqlite_where=_QUEUED, postgresql_where=_QUEUED)
