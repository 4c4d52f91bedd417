"""Asset checks of a manifest, evaluated on the published files in the run that wrote them."""

from __future__ import annotations

import dagster as dg

from lake_pipeline.attempts import Outcome
from lake_pipeline.dataset import Dataset
from lake_pipeline.published import count_nulls, count_rows
from lake_pipeline.store import Store

CONSERVED = "rows_conserved"
REQUIRED = "required_columns"
ROW_COUNT = "row_count"


def check_specs(dataset: Dataset, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    specs = [
        dg.AssetCheckSpec(
            CONSERVED,
            asset=key,
            blocking=True,
            description="Rows read are rows in the published files plus rows quarantined.",
        )
    ]
    if dataset.checks.required:
        columns = ", ".join(dataset.checks.required)
        specs.append(dg.AssetCheckSpec(REQUIRED, asset=key, description=f"Never NULL: {columns}."))
    if dataset.checks.row_count:
        minimum = dataset.checks.row_count.min
        specs.append(dg.AssetCheckSpec(ROW_COUNT, asset=key, description=f"At least {minimum:,} rows."))
    return specs


def check_results(dataset: Dataset, outcome: Outcome, store: Store, key: dg.AssetKey) -> list[dg.AssetCheckResult]:
    keys = [dataset.output.prefix + file.path for file in outcome.results.outputs]
    published = count_rows(store, keys)
    read = sum(file.rows_read for file in outcome.results.files)
    quarantined = sum(file.rows_quarantined for file in outcome.results.files)
    results = [
        dg.AssetCheckResult(
            passed=read == published + quarantined,
            asset_key=key,
            check_name=CONSERVED,
            metadata={"rows read": read, "rows published": published, "rows quarantined": quarantined},
        )
    ]
    if dataset.checks.required:
        nulls = count_nulls(store, keys, dataset.checks.required)
        results.append(
            dg.AssetCheckResult(
                passed=not nulls.total(), asset_key=key, check_name=REQUIRED, metadata={**nulls, "rows": published}
            )
        )
    if dataset.checks.row_count:
        minimum = dataset.checks.row_count.min
        results.append(
            dg.AssetCheckResult(
                passed=published >= minimum,
                asset_key=key,
                check_name=ROW_COUNT,
                metadata={"rows": published, "at least": minimum},
            )
        )
    return results
