"""Which lake a ledger is of, and what of it is written down in the store."""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = """
CREATE TABLE lake.identity (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    lake uuid NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    stored boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE lake.identity IS 'The one lake that this ledger is of.';
COMMENT ON COLUMN lake.identity.stored IS 'The store was seen to say the same; one that says nothing is another.';

CREATE TABLE lake.marks (
    dataset text COLLATE "C" PRIMARY KEY,
    changes bigint NOT NULL
);
COMMENT ON TABLE lake.marks IS 'How many changes the high-water mark in the store counts.';
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute("ALTER TABLE lake.manifests ADD COLUMN recorded_changes bigint")
    op.execute(
        "COMMENT ON COLUMN lake.manifests.recorded_changes IS "
        "'The changes that the commit document in the store tells of; null: there is none.'"
    )
    op.execute("ALTER TABLE lake.schema_versions ADD COLUMN recorded boolean NOT NULL DEFAULT false")
    op.execute("COMMENT ON COLUMN lake.schema_versions.recorded IS 'The store has a document of it.'")
    op.execute(
        "CREATE INDEX unrecorded_manifests ON lake.manifests (dataset) "
        "WHERE committed_at IS NOT NULL AND recorded_changes IS DISTINCT FROM changes"
    )
