"""The ledger's schema, version by version."""

HEAD = "0014"  # the newest revision, known without importing Alembic
