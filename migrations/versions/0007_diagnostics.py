"""diagnostics beside a row of a curve, where the spec asks for them"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("curve_rows", sa.Column("diagnostics", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("curve_rows", "diagnostics")
