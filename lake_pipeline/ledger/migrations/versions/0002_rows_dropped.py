"""Rows that a dataset's declared rules dropped, of each raw file."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Before there were such rules no row was dropped. A default says so of millions of rows without writing one.
    op.execute("ALTER TABLE lake.file_processing_status ADD COLUMN rows_dropped bigint DEFAULT 0")
    op.execute("ALTER TABLE lake.file_processing_status ALTER COLUMN rows_dropped DROP DEFAULT")
