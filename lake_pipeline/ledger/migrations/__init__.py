"""The ledger's schema, version by version."""

HEAD = "0016"  # the newest revision, known without importing Alembic
