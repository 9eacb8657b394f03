"""Effects: each history entry names its event, and the ledger the first event that carries effects.

A failure mark is bound to the bytes, whatever the model is called: so what is good is judged anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "m0003"
down_revision = "m0002"
branch_labels = None
depends_on = None

_WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add both columns, note where effects begin, and apply failure marks to every model."""
    op.add_column("ledger", sa.Column("bound_from", _WHOLE, server_default=sa.text("1"), nullable=False))
    op.add_column("history", sa.Column("event", _WHOLE))
    op.drop_index("history_by_digest", table_name="history")
    op.create_index("history_by_digest", "history", ["digest"])
    op.execute("UPDATE ledger SET bound_from = sequence + 1")
    op.execute(
        "UPDATE history SET good = NOT EXISTS "
        "(SELECT 1 FROM failures WHERE failures.digest = history.digest AND failures.lifted_by IS NULL)"
    )
