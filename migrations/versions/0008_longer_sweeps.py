"""a sweep that goes on from another; members in the order of their positions, which is no longer that of their ids"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_experiments_sweep_id_position", "experiments", ["sweep_id", "position"])
    op.add_column("sweeps", sa.Column("extends", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("sweeps", "extends")
    op.drop_index("ix_experiments_sweep_id_position", table_name="experiments")
