"""The ledger's schema, version by version."""

HEAD = "0006"  # the newest revision, known without importing Alembic
