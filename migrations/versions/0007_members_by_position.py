"""the members of a sweep in the order of their positions, which is no longer that of their ids"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_experiments_sweep_id_position", "experiments", ["sweep_id", "position"])


def downgrade() -> None:
    op.drop_index("ix_experiments_sweep_id_position", table_name="experiments")
