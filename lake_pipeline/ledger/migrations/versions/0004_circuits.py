"""Circuit breakers of the services that the lake calls."""

from alembic import op

revision = "0004"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
CREATE TABLE lake.circuits (
    name text COLLATE "C" PRIMARY KEY,
    failures int NOT NULL DEFAULT 0,
    open_until timestamptz,
    last_error text,
    changed_at timestamptz NOT NULL DEFAULT now()
)""")
    op.execute("COMMENT ON TABLE lake.circuits IS 'Services whose last call failed; open: not called for a while.'")
