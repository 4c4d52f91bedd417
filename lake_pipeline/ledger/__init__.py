"""The ledger: every raw file and manifest accounted for, in Postgres."""
