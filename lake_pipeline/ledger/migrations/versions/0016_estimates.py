"""What the last estimate of a dataset said, to be compared with what it then took."""

from alembic import op

revision = "0016"
down_revision = "0015"

TABLES = """
CREATE TABLE lake.estimates (
    dataset text COLLATE "C" PRIMARY KEY,
    engine text COLLATE "C" NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    manifests bigint NOT NULL,
    files bigint NOT NULL,
    bytes bigint NOT NULL,
    seconds double precision NOT NULL,
    dpu_seconds double precision NOT NULL,
    dollars double precision NOT NULL
);
COMMENT ON TABLE lake.estimates IS 'What `lake estimate` said last of what waited then; a dataset has one.';
COMMENT ON COLUMN lake.estimates.seconds IS 'Of all attempts, from begin to archive, one after the other.';
COMMENT ON COLUMN lake.estimates.dpu_seconds IS 'That AWS Glue would bill; 0 on other engines.';
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(
        "COMMENT ON COLUMN lake.manifests.metrics IS "
        "'What the last commit read, wrote and set aside; `cost`: what that attempt took, once files are archived.'"
    )
