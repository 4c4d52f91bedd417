"""The ledger's schema, version by version."""

HEAD = "0015"  # the newest revision, known without importing Alembic
