"""An index of what was delivered, by time: so that old deliveries can be removed without looking at all."""

import sqlalchemy as sa
from alembic import op

revision = "m0002"
down_revision = "m0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    sent = sa.text("outcome = 'sent'")
    op.create_index("outbox_sent", "outbox", ["finished_at"], sqlite_where=sent, postgresql_where=sent)
