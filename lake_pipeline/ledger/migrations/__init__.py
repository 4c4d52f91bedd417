"""The ledger's schema, version by version."""

HEAD = "0009"  # the newest revision, known without importing Alembic
