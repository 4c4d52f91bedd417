"""What readers are shown against what is committed."""

from __future__ import annotations

from collections.abc import Iterator

from lake_pipeline.audit.classes import Difference
from lake_pipeline.audit.holders import is_under_way
from lake_pipeline.audit.scope import Scope
from lake_pipeline.catalog.contract import catalog_of


def audit_catalogue(scope: Scope) -> Iterator[Difference]:
    """The dataset's table where it shows another commit than the last, twice looked at."""
    lake, dataset = scope.lake, scope.dataset
    catalog = catalog_of(lake.settings)
    stale = ([dataset] if catalog.is_stale(lake, dataset) else []) if lake.ledger.commit_mark(dataset.name) else []
    for _ in scope.suspects(stale):
        mark = lake.ledger.commit_mark(dataset.name)
        latest = {row.manifest_id for row in lake.ledger.latest_manifests(dataset.name, 1)}
        busy = any(is_under_way(row, lake.ledger) for row in lake.ledger.manifests_of(dataset.name, latest).values())
        if not busy and catalog.is_stale(lake, dataset) and lake.ledger.commit_mark(dataset.name) == mark:
            where = catalog.table_uri(lake.settings, dataset)
            yield Difference(dataset.name, "catalogue_stale", dataset.name, f"{where} does not show the last commit")
