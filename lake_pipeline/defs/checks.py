"""Asset checks of a manifest: conservation on the published files, and what the dataset declares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from lake_pipeline.attempts import Outcome
from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.metadata import markdown_table
from lake_pipeline.kernel.results import CheckOutcome
from lake_pipeline.published import count_rows
from lake_pipeline.store import Store

CONSERVED = "rows_conserved"


def check_specs(dataset: Dataset, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    conserved = dg.AssetCheckSpec(
        CONSERVED,
        asset=key,
        blocking=True,
        description="Rows read, and added by exploding, are rows in the published files plus rows quarantined plus"
        " rows dropped by rule plus rows erased on request.",
    )
    declared = (
        dg.AssetCheckSpec(
            name,
            asset=key,
            blocking=name in dataset.checks.blocking,
            description=f"checks.{name} of the declaration, on every row of the manifest before it is published.",
        )
        for name in dataset.checks.names
    )
    return [conserved, *declared]


def conservation(dataset: Dataset, outcome: Outcome, store: Store, key: dg.AssetKey) -> dg.AssetCheckResult:
    """Whether the published files hold just the rows that were read and not quarantined, dropped or erased."""
    prefix = dataset.output_prefix(outcome.manifest.landing_group)
    published = count_rows(store, (prefix + file.path for file in outcome.results.outputs))
    read = sum(file.rows_read for file in outcome.results.files)
    exploded = sum(file.rows_exploded for file in outcome.results.files)
    quarantined = sum(file.rows_quarantined for file in outcome.results.files)
    dropped = sum(file.rows_dropped for file in outcome.results.files)
    erased = sum(file.rows_erased for file in outcome.results.files)
    return dg.AssetCheckResult(
        passed=read + exploded == published + quarantined + dropped + erased,
        asset_key=key,
        check_name=CONSERVED,
        metadata={
            "rows read": read,
            "rows exploded": exploded,
            "rows published": published,
            "rows quarantined": quarantined,
            "rows dropped": dropped,
            "rows erased": erased,
        },
    )


def declared_results(outcomes: Iterable[CheckOutcome], key: dg.AssetKey) -> list[dg.AssetCheckResult]:
    """The declared checks as Dagster shows them, a sample of the offending rows among the metadata."""
    return [
        dg.AssetCheckResult(
            passed=outcome.passed,
            asset_key=key,
            check_name=outcome.name,
            metadata={
                "offending rows": outcome.offending,
                **({"sample": dg.MetadataValue.md(markdown_table(list(outcome.sample)))} if outcome.sample else {}),
            },
        )
        for outcome in outcomes
    ]


def merged(results: Iterable[dg.AssetCheckResult]) -> Iterator[dg.AssetCheckResult]:
    """One result a check, for Dagster keeps one a run: of several manifests, their sums and the first sample."""
    by_name: defaultdict[str, list[dg.AssetCheckResult]] = defaultdict(list)
    for result in results:
        by_name[result.check_name or ""].append(result)
    for name, several in by_name.items():
        metadata: dict[str, Any] = {}
        for key, value in (pair for result in several for pair in result.metadata.items()):
            if isinstance(value, dg.IntMetadataValue):
                metadata[key] = metadata.get(key, 0) + (value.value or 0)
            else:
                metadata.setdefault(key, value)
        if len(several) > 1:
            metadata["manifests"] = len(several)
        yield dg.AssetCheckResult(
            passed=all(result.passed for result in several),
            asset_key=several[0].asset_key,
            check_name=name,
            metadata=metadata,
        )
