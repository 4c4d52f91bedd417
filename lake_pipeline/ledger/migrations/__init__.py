"""The ledger's schema, version by version."""

HEAD = "0004"  # the newest revision, known without importing Alembic
