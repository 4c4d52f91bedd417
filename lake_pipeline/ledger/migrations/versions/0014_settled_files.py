"""Files that are done with leave the table that is worked on for a compact one; a view shows both.

This one does not only add: what was the table `file_processing_status` is a view then, and a view of two tables takes
no writes. Statements of the release before are refused, so its workers are to be stopped before it (docs/ledger.md).
"""

from alembic import op

from lake_pipeline.ledger.grants import GRANTS

revision = "0014"
down_revision = "0013"

TABLES = """
ALTER TABLE lake.file_processing_status RENAME TO live_files;
COMMENT ON TABLE lake.live_files IS 'Raw files, one row an object version, of which something may still change.';

-- Columns of eight bytes stand first, so that none is padded; what is nearly always 0 is null, which takes no room.
CREATE TABLE lake.settled_files (
    id bigint NOT NULL,
    size bigint NOT NULL,
    last_modified timestamptz NOT NULL,
    discovered_at timestamptz NOT NULL,
    claimed_at timestamptz,
    processed_at timestamptz,
    rows_read bigint NOT NULL,
    rows_written bigint NOT NULL,
    rows_rescued bigint CHECK (rows_rescued <> 0),
    rows_quarantined bigint CHECK (rows_quarantined <> 0),
    rows_dropped bigint CHECK (rows_dropped <> 0),
    rows_exploded bigint CHECK (rows_exploded <> 0),
    rows_erased bigint CHECK (rows_erased <> 0),
    retry_count int CHECK (retry_count <> 0),
    dataset text COLLATE "C" NOT NULL,
    manifest_id text COLLATE "C" NOT NULL,
    s3_key text COLLATE "C" NOT NULL,
    etag_bytes bytea,
    etag_text text COLLATE "C",
    archived_key text,
    glue_job_run_id text,
    PRIMARY KEY (dataset, s3_key),
    CHECK (num_nonnulls(etag_bytes, etag_text) = 1)
);
COMMENT ON TABLE lake.settled_files IS
    'SUCCEEDED files of committed manifests that lie where they belong; written once, and moved back to be changed.';
COMMENT ON COLUMN lake.settled_files.rows_rescued IS 'Null: 0; so are the other counts but for rows read and written.';
COMMENT ON COLUMN lake.settled_files.etag_bytes IS 'The ETag, where it is hexadecimal digits in lower case.';
COMMENT ON COLUMN lake.settled_files.etag_text IS 'Any other ETag, such as that of an upload in parts.';
COMMENT ON COLUMN lake.settled_files.glue_job_run_id IS 'Null: that of the manifest.';
CREATE INDEX settled_by_manifest ON lake.settled_files (dataset, manifest_id);
CREATE INDEX settled_where_they_landed ON lake.settled_files (dataset, manifest_id) WHERE archived_key IS NULL;

ALTER TABLE lake.manifests ADD COLUMN settled boolean NOT NULL DEFAULT false,
    ADD COLUMN settled_files int NOT NULL DEFAULT 0, ADD COLUMN settled_bytes bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN lake.manifests.settled IS 'Every file of it that may be is settled since its last commit.';
COMMENT ON COLUMN lake.manifests.settled_files IS 'Its rows in settled_files, so that nobody need count them.';
COMMENT ON COLUMN lake.manifests.settled_bytes IS 'The sum of their sizes.';
CREATE INDEX unsettled_manifests ON lake.manifests (dataset, committed_at) WHERE state = 'COMMITTED' AND NOT settled;

-- Without it a planner that thinks that nothing is PROCESSING reads all that is, for each file of a claim.
DROP INDEX lake.files_by_status;
-- Files of no manifest that nobody can claim, for the counts by state; the others are in indexes of their own.
CREATE INDEX idle_files ON lake.live_files (dataset, status) WHERE manifest_id IS NULL AND status <> 'PENDING';
"""

# Each branch reads one table, and takes what it has from the manifest by a subquery: so the planner looks through the
# view, and uses the indexes of both for whatever is asked of it.
VIEW = """
CREATE VIEW lake.file_processing_status AS
SELECT id, dataset, s3_key, etag, size, last_modified, landing_group, status, manifest_id, glue_job_run_id, retry_count,
    error_class, error_message, discovered_at, claimed_at, processed_at, rows_read, rows_written, rows_rescued,
    rows_quarantined, archived_key, rows_dropped, rows_exploded, relanded, rows_erased, archived_etag, archived_size
FROM lake.live_files
UNION ALL
SELECT s.id, s.dataset, s.s3_key, coalesce(encode(s.etag_bytes, 'hex'), s.etag_text) COLLATE "C", s.size,
    s.last_modified, (
        SELECT m.landing_group FROM lake.manifests m WHERE m.dataset = s.dataset AND m.manifest_id = s.manifest_id
    ), 'SUCCEEDED'::text COLLATE "C", s.manifest_id, coalesce(s.glue_job_run_id, (
        SELECT m.engine_run_id FROM lake.manifests m WHERE m.dataset = s.dataset AND m.manifest_id = s.manifest_id
    )), coalesce(s.retry_count, 0), NULL::text, NULL::text, s.discovered_at, s.claimed_at, s.processed_at, s.rows_read,
    s.rows_written, coalesce(s.rows_rescued, 0), coalesce(s.rows_quarantined, 0), s.archived_key,
    coalesce(s.rows_dropped, 0), coalesce(s.rows_exploded, 0), false, coalesce(s.rows_erased, 0),
    NULL::text COLLATE "C", NULL::bigint
FROM lake.settled_files s;
COMMENT ON VIEW lake.file_processing_status IS 'One row a raw file: an object version, by dataset, key and ETag.';
"""

# A view is of the table that it was made of, whatever that is called by now.
FILE_METADATA = """
CREATE OR REPLACE VIEW lake.file_metadata AS
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
    op.execute(TABLES)
    op.execute(VIEW)
    op.execute(FILE_METADATA)
    op.execute(GRANTS)
