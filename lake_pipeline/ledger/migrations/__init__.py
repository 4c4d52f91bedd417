"""The ledger's schema, version by version."""

HEAD = "0005"  # the newest revision, known without importing Alembic
