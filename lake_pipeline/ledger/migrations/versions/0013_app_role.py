"""A role that may work with the ledger and may not change its tables."""

from alembic import op

from lake_pipeline.ledger.grants import GRANTS

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(GRANTS)
