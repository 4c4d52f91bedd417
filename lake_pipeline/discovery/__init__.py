"""Discovery: what has landed, brought into the ledger."""
