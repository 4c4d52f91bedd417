"""How often what readers are to see of a manifest has changed."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("ALTER TABLE lake.manifests ADD COLUMN changes bigint NOT NULL DEFAULT 0")
    op.execute("COMMENT ON COLUMN lake.manifests.changes IS 'Commits, and releases of committed files; only rises.'")
