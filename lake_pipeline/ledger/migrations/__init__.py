"""The ledger's schema, version by version."""

HEAD = "0010"  # the newest revision, known without importing Alembic
