"""The ledger's schema, version by version."""

HEAD = "0008"  # the newest revision, known without importing Alembic
