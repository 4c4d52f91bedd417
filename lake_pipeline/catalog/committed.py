"""The files that a table is made of: committed ones, under their names."""

from __future__ import annotations

from lake_pipeline.dataset import Dataset
from lake_pipeline.lake import Lake


def table_files(lake: Lake, dataset: Dataset) -> dict[str, str | None]:
    """The table's files as a query engine names them, each with its raw file's key where it is one raw file's.

    A name that is still to get its first content is left out: the view is made again once it has it.
    """
    outputs = lake.ledger.committed_outputs(dataset.name)
    # After the outputs, so that what is committed meanwhile is in none of the three, or in both of these.
    sources, awaited = lake.ledger.output_sources(dataset.name), awaited_files(lake, dataset)
    paths = (output.path for output in outputs if output.path not in awaited)
    return {lake.store.uri(path): sources.get(path) for path in paths}


def awaited_files(lake: Lake, dataset: Dataset) -> set[str]:
    """Names that are still to get their first content."""
    return {path for path in lake.ledger.unreleased_outputs(dataset.name) if not lake.store.exists(path)}
