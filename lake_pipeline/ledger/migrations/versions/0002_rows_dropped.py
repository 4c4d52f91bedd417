"""Rows that a dataset's declared rules dropped, of each raw file."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE lake.file_processing_status ADD COLUMN rows_dropped bigint")
    # What was converted before there were such rules lost no row to them.
    op.execute("UPDATE lake.file_processing_status SET rows_dropped = 0 WHERE rows_read IS NOT NULL")
