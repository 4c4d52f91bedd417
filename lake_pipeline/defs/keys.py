"""Names that a dataset's definitions go by."""

from __future__ import annotations

from typing import Literal

import dagster as dg

from lake_pipeline.dataset import Dataset

Stage = Literal["raw", "curated", "table"]


def asset_key(dataset: Dataset, stage: Stage) -> dg.AssetKey:
    return dg.AssetKey([dataset.name, stage])


def extracts_job_name(dataset: Dataset) -> str:
    """The job that makes a dataset's extracts."""
    return f"{dataset.name}_extracts_job"


def job_name(dataset: Dataset) -> str:
    """The job that takes one manifest from raw to table."""
    return f"{dataset.name}_manifest"
