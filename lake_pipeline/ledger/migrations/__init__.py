"""The ledger's schema, version by version."""

HEAD = "0012"  # the newest revision, known without importing Alembic
