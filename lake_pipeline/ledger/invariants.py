"""What must hold in the ledger at every moment, whoever was killed where: a breach is a row lost or doubled."""

from __future__ import annotations

from lake_pipeline.ledger.audit_models import InvariantViolation
from lake_pipeline.ledger.connection import LedgerConnection

INVARIANTS = {
    "processing_without_attempt": "a file is PROCESSING only in a manifest that is PLANNED, or RUNNING with a holder",
    "stranded_file": "a file that waits or has failed in a manifest has one that is still to be committed",
    "attempt_without_holder": "a manifest that is RUNNING has a worker and a lease",
    "lease_without_attempt": "a manifest that is not RUNNING has no lease",
    "version_twice": "a version of a key has one row, live or settled",
    "settled_miscounted": "a manifest counts its settled files, and their bytes",
    "two_versions_succeeded": "one version of a key at most is SUCCEEDED",
    "succeeded_without_commit": "a SUCCEEDED file is in a manifest that was committed",
    "output_without_commit": "a committed output is of a manifest that was committed",
    "rows_differ": "a COMMITTED manifest's outputs hold the rows of its SUCCEEDED files, no more and no fewer",
}


class InvariantLedger(LedgerConnection):
    """Whether the ledger contradicts itself."""

    def invariant_violations(self, dataset: str) -> list[InvariantViolation]:
        """Every breach of one of INVARIANTS, seen at one moment; empty where all is well."""
        with self._transaction() as connection:
            return list(self._queries.invariant_violations(connection, dataset=dataset))
