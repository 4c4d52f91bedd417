"""Datasets of which nothing is begun for a while, by whose word and why."""

from alembic import op

revision = "0015"
down_revision = "0014"

TABLES = """
CREATE TABLE lake.pauses (
    dataset text COLLATE "C" PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_by text NOT NULL,
    reason text
);
COMMENT ON TABLE lake.pauses IS 'Datasets of which no manifest is begun; what lands is registered all the same.';
"""


def upgrade() -> None:
    op.execute(TABLES)
