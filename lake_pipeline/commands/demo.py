"""`lake demo`: the whole road on sample files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lake_pipeline.commands.progress import RunDisplay
from lake_pipeline.commands.query import print_answer
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import DemoFailed
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.models import FileRow
from lake_pipeline.ledger.postgres import starting_embedded
from lake_pipeline.loading import large_imports
from lake_pipeline.reports import note, print_table, say
from lake_pipeline.samples import SAMPLES, SampleFile, generate
from lake_pipeline.settings import load_settings
from lake_pipeline.store import Store

_QUESTION = "select mode, count(*) as events from events group by 1 order by 1"
_COUNTS = ("read", "written", "rescued", "quarantined", "dropped")
_NEXT = """
Next:
  lake status                          where every dataset stands
  lake files --status QUARANTINED      what could not be read, and why
  lake query "select * from events limit 5"
  lake schema events                   the columns, and what changed when
  lake dev                             the same in the Dagster UI, and files that land are converted by themselves"""


def demo() -> None:
    """Land sample files for every bundled dataset, good ones and bad, and convert them on embedded parts.

    May be repeated: samples that have landed already are left alone.
    Exits with 1 where a sample does not end as it should.
    """
    settings = load_settings()
    with starting_embedded(settings), large_imports():
        from lake_pipeline.defs.running import run_datasets  # Dagster takes seconds to import

    with open_lake(settings) as lake:
        datasets = [dataset for dataset in lake.datasets.values() if dataset.name in SAMPLES]
        if not datasets:
            raise DemoFailed("there are samples for the bundled declarations only; unset LAKE_DATASETS")
        expected = {dataset.name: _land(lake, dataset) for dataset in datasets}
        with RunDisplay(lake) as display:
            run_datasets(lake, datasets, display.tell)
        differences = _print_fates(lake, expected)
    if differences:
        raise DemoFailed("\n".join(differences))
    if "events" in expected:
        say(f"\n{_QUESTION}")
        print_answer(settings, _QUESTION)
    say(_NEXT)


def _land(lake: Lake, dataset: Dataset) -> list[SampleFile]:
    """Copy samples that are not there yet into the store; what is there must keep its ETag, or it would be new."""
    with tempfile.TemporaryDirectory(prefix="lake-samples-") as folder:
        made = Store(folder)
        samples = generate(dataset.name, made)
        missing = [
            sample
            for sample in samples
            if not lake.store.exists(sample.key) and _newest(lake, dataset.name, sample.key) is None
        ]
        for sample in missing:
            lake.store.upload(Path(folder) / sample.key, sample.key)
    there = len(samples) - len(missing)
    already = f", {there} had landed before" if there else ""
    note(f"{dataset.name}: {len(missing)} sample files landed under {lake.store.uri(dataset.source.prefix)}{already}")
    return samples


def _newest(lake: Lake, dataset: str, key: str) -> FileRow | None:
    newest = None
    for row in lake.ledger.files(dataset, key=key):  # by version
        newest = row
    return newest


def _print_fates(lake: Lake, expected: dict[str, list[SampleFile]]) -> list[str]:
    """Print what became of every sample; the differences from what should have."""
    rows: list[list[object]] = []
    differences: list[str] = []
    for name, samples in expected.items():
        for sample in samples:
            row = _newest(lake, name, sample.key)
            differences += _differences(sample, row)
            counts = [getattr(row, f"rows_{count}", None) for count in _COUNTS]
            odd = sample.about if sample.rows_rescued or sample.rows_quarantined or sample.rows_dropped else None
            reason = row.error_message if row and row.error_message else odd
            rows.append([name, sample.key, row.status if row else "missing", *counts, reason])
    print_table(["dataset", "file", "status", *_COUNTS, "reason"], rows)
    return differences


def _differences(sample: SampleFile, row: FileRow | None) -> list[str]:
    if row is None:
        return [f"{sample.key} is not in the ledger"]
    fields = ("status", "rows_written", "rows_rescued", "rows_quarantined", "rows_dropped")
    return [
        f"{sample.key} has {field} {actual}, not {wanted}"
        for field in fields
        if ((actual := getattr(row, field)) or 0) != ((wanted := getattr(sample, field)) or 0)
    ]
