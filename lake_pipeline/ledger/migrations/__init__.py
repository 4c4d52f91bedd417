"""The ledger's schema, version by version."""

HEAD = "0003"  # the newest revision, known without importing Alembic
