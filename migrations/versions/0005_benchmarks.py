"""what `ballast bench` measured, for the cost of a sweep"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "benchmarks",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("device_kind", sa.Text(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("precision", sa.Text(), nullable=False),
        sa.Column("train_rate", sa.Double(), nullable=False),
        sa.Column("evaluate_rate", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("host", "device_kind", "network", "precision", name=op.f("pk_benchmarks")),
    )


def downgrade() -> None:
    op.drop_table("benchmarks")
