"""The ledger's schema, version by version."""

HEAD = "0011"  # the newest revision, known without importing Alembic
