"""The ledger's schema, version by version."""

HEAD = "0007"  # the newest revision, known without importing Alembic
