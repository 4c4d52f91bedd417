"""The ledger's schema, version by version."""

HEAD = "0002"  # the newest revision, known without importing Alembic
