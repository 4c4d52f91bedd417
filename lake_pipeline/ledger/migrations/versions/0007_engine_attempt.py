"""Which attempt an engine's run was started for, as long as that run may still matter."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE lake.manifests ADD COLUMN engine_attempt int")
    op.execute(
        "COMMENT ON COLUMN lake.manifests.engine_attempt IS "
        "'The attempt whose staging the engine''s run writes, until it is known that nothing more will come of it.'"
    )
