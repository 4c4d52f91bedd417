"""What the catalogue shows of each dataset, and what was told of each manifest."""

from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = """
CREATE TABLE lake.catalogue_tables (
    dataset text COLLATE "C" PRIMARY KEY,
    mark text COLLATE "C" NOT NULL
);
COMMENT ON TABLE lake.catalogue_tables IS 'The commit and the definition that a table of a shared catalogue shows.';

CREATE TABLE lake.catalogue_partitions (
    dataset text COLLATE "C" NOT NULL,
    partition text COLLATE "C" NOT NULL,
    listing text COLLATE "C" NOT NULL,
    PRIMARY KEY (dataset, partition)
);
COMMENT ON TABLE lake.catalogue_partitions IS 'Hive partitions that such a table has, with a hash of their files.';

ALTER TABLE lake.manifests ADD COLUMN told_attempt int, ADD COLUMN told_planned_at timestamptz;
COMMENT ON COLUMN lake.manifests.told_attempt IS 'The attempt whose end was told to who listens.';
COMMENT ON COLUMN lake.manifests.told_planned_at IS 'The planning that was told.';

CREATE TABLE lake.alerts (
    key text COLLATE "C" PRIMARY KEY,
    sent_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE lake.alerts IS 'Alerts of failed runs that were sent lately, and are not sent again so soon.';
"""

# What ended before anyone could listen is no news.
TOLD = "UPDATE lake.manifests SET told_attempt = attempt, told_planned_at = planned_at"

INDEXES = """
-- With the size in it, files and bytes by state are counted each minute without a look at the table.
DROP INDEX lake.files_by_status;
CREATE INDEX files_by_status ON lake.file_processing_status (dataset, status) INCLUDE (size);

CREATE INDEX untold_manifests ON lake.manifests (dataset, planned_at)
    WHERE told_planned_at IS DISTINCT FROM planned_at
        OR state IN ('COMMITTED', 'FAILED') AND told_attempt IS DISTINCT FROM attempt;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(TOLD)
    op.execute(INDEXES)
