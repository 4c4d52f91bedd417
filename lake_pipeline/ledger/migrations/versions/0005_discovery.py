"""Circuit breakers of the services that the lake calls, and how far inventory reports were read."""

from alembic import op

revision = "0005"
down_revision = "0004"


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
    op.execute("""
CREATE TABLE lake.report_cursors (
    dataset text COLLATE "C" PRIMARY KEY,
    url text COLLATE "C" NOT NULL,
    files int NOT NULL,
    rows bigint NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
)""")
    op.execute("COMMENT ON TABLE lake.report_cursors IS 'The newest inventory report, and how far it was read.'")
