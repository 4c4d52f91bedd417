"""Which document holds the records that a manifest's commit set aside."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("ALTER TABLE lake.manifests ADD COLUMN quarantined_records text")
    op.execute(
        "COMMENT ON COLUMN lake.manifests.quarantined_records IS "
        "'The key of the document with the records that the last commit set aside; null: it set none aside.'"
    )
    # Until now every manifest had one key for it.
    op.execute(
        "UPDATE lake.manifests SET quarantined_records = 'quarantine/' || dataset || '/records/' || manifest_id || "
        "'.ndjson' WHERE (metrics ->> 'rows_quarantined')::bigint > 0"
    )
