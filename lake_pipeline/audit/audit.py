"""One dataset audited: store, ledger and outputs against each other, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from lake_pipeline.audit.archived import audit_archived
from lake_pipeline.audit.catalogue import audit_catalogue
from lake_pipeline.audit.classes import REPLANNED, Difference
from lake_pipeline.audit.holders import audit_holders, audit_invariants
from lake_pipeline.audit.leftovers import audit_records, audit_staging
from lake_pipeline.audit.outputs import audit_outputs
from lake_pipeline.audit.raw_files import audit_landed
from lake_pipeline.audit.rows import audit_rows
from lake_pipeline.audit.scope import Scope


def audit(scope: Scope) -> Iterator[Difference]:
    """Every difference of a dataset, as they are found; each was seen twice, for workers may be at work.

    Raises:
        LedgerError, StoreError: one of them failed; what was found before stands.
    """
    yield from audit_holders(scope)
    yield from audit_landed(scope)
    yield from audit_archived(scope)
    yield from audit_staging(scope)
    yield from audit_invariants(scope)
    yield from audit_records(scope)
    damaged = set[str]()
    for difference in audit_outputs(scope):
        if difference.kind in REPLANNED and difference.manifest_id is not None:
            damaged.add(difference.manifest_id)
        yield difference
    if not scope.quick:
        yield from audit_rows(scope, damaged)
    yield from audit_catalogue(scope)
