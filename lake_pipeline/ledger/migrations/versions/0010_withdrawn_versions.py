"""Which replays were asked for, and which archived files have landed again."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE lake.manifests ADD COLUMN replay boolean NOT NULL DEFAULT false")
    op.execute(
        "COMMENT ON COLUMN lake.manifests.replay IS "
        "'Someone asked for its rows to be made again; else a committed one is planned again for new versions alone.'"
    )
    op.execute("ALTER TABLE lake.file_processing_status ADD COLUMN relanded boolean NOT NULL DEFAULT false")
    op.execute(
        "COMMENT ON COLUMN lake.file_processing_status.relanded IS "
        "'This version was moved away, and was seen under its key again since.'"
    )
    op.execute(
        "CREATE INDEX relanded_files ON lake.file_processing_status (dataset) "
        "WHERE relanded AND status <> 'SUPERSEDED' AND archived_key IS NOT NULL"
    )
