"""Outputs that are one raw file's, and a record of what became of each file."""

from alembic import op

revision = "0003"
down_revision = "0002"

FILE_METADATA = """
CREATE VIEW lake.file_metadata AS
SELECT f.dataset, f.id AS file_id, f.s3_key AS source_path, (
        SELECT array_agg(o.path ORDER BY o.path) FROM lake.outputs o
        WHERE o.dataset = f.dataset AND o.manifest_id = f.manifest_id AND o.committed
            AND (o.file_id = f.id OR o.file_id IS NULL AND f.rows_written > 0)
            AND f.status NOT IN ('QUARANTINED', 'SUPERSEDED')
    ) AS output_paths,
    f.status, f.claimed_at AS started_at, f.processed_at AS ended_at, f.rows_written AS record_count,
    f.size AS file_size_bytes, f.error_message, f.discovered_at AS created_at,
    greatest(f.discovered_at, f.claimed_at, f.processed_at) AS updated_at
FROM lake.file_processing_status f
"""


def upgrade() -> None:
    op.execute("ALTER TABLE lake.outputs ADD COLUMN file_id bigint, ADD COLUMN staged_path text")
    op.execute("COMMENT ON COLUMN lake.outputs.file_id IS 'The raw file, where one file becomes one file.'")
    op.execute("COMMENT ON COLUMN lake.outputs.staged_path IS 'Where the content lies that the path is still to get.'")
    op.execute("CREATE INDEX unreleased_outputs ON lake.outputs (dataset, manifest_id) WHERE staged_path IS NOT NULL")
    op.execute(FILE_METADATA)
    op.execute("COMMENT ON VIEW lake.file_metadata IS 'One record a raw file: where it went, when, and how it ended.'")
