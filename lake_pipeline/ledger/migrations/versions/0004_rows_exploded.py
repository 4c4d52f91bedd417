"""Rows that a dataset's exploded array adds to the records of each raw file."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Before arrays could be exploded none added a row. A default says so of millions of rows without writing one.
    op.execute("ALTER TABLE lake.file_processing_status ADD COLUMN rows_exploded bigint DEFAULT 0")
    op.execute("ALTER TABLE lake.file_processing_status ALTER COLUMN rows_exploded DROP DEFAULT")
