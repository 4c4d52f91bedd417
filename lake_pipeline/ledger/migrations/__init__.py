"""The ledger's schema, version by version."""

HEAD = "0013"  # the newest revision, known without importing Alembic
