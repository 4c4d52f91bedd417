"""The ledger's schema, version by version."""

HEAD = "0001"  # the newest revision, known without importing Alembic
