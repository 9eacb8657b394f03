"""What stable versions answered, minute by minute."""

import sqlalchemy as sa
from alembic import op

revision = "m0004"
down_revision = "m0003"
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table and the index that its old end is dropped by."""
    op.create_table(
        "traffic",
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("minute", _WHOLE, nullable=False, autoincrement=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("deployment", "minute", "version", name="pk_traffic"),
    )
    op.create_index("traffic_by_minute", "traffic", ["minute"])
