"""Who works on what, as far as it can be told: what a worker is in the midst of is no difference."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from lake_pipeline.audit.classes import Difference
from lake_pipeline.audit.scope import Scope
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import ManifestRow
from lake_pipeline.workers import is_dead, worker_name

# After its commit a worker shows the rows, cleans and archives. Of one on another machine nobody knows whether it still
# does, so that long it is given.
_GRACE = timedelta(minutes=15)


def is_under_way(manifest: ManifestRow | None, ledger: Ledger) -> bool:
    """Whether somebody converts the manifest, or may still tidy up after its commit or its failure."""
    if manifest is None or not manifest.worker or is_dead(manifest.worker):
        return False
    now = ledger.now()
    if manifest.state == "RUNNING":
        return manifest.lease_expires_at is not None and manifest.lease_expires_at >= now
    # This process audits.
    return manifest.worker != worker_name() and any(
        moment is not None and now - moment < _GRACE for moment in (manifest.started_at, manifest.committed_at)
    )


def audit_holders(scope: Scope) -> Iterator[Difference]:
    """Manifests of workers that died or stopped renewing their lease."""
    name = scope.dataset.name
    for manifest_id, attempt, worker, expired in scope.lake.ledger.held_manifests(name):
        if expired or is_dead(worker):
            why = "stopped renewing its lease" if expired else "died"
            detail = f"attempt {attempt} is RUNNING, and its worker {worker or '(nobody)'} {why}"
            yield Difference(name, "lease_expired", manifest_id, detail, manifest_id)


def audit_invariants(scope: Scope) -> Iterator[Difference]:
    """Where the ledger contradicts itself."""
    name = scope.dataset.name
    for found in scope.lake.ledger.invariant_violations(name):
        of_manifest = found.invariant in ("rows_differ", "attempt_without_holder", "lease_without_attempt")
        manifest_id = found.subject if of_manifest else None
        yield Difference(name, found.invariant, found.subject, found.detail, manifest_id)
