"""The conversion of one manifest: a plain function of (manifest, schema, dataset).

Its pieces (fetching.py, survey.py, writing.py, accounts.py) work on any part of a manifest; here they get all of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lake_pipeline.dataset import Dataset
from lake_pipeline.erasures import Erasure
from lake_pipeline.kernel.accounts import failed_files, file_results
from lake_pipeline.kernel.fetching import check_unchanged, fetch
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.quality import evaluate
from lake_pipeline.kernel.references import load_references
from lake_pipeline.kernel.results import DATA, RECORDS, Results
from lake_pipeline.kernel.settling import settle, survey_of
from lake_pipeline.kernel.writing import Recipe, Writer
from lake_pipeline.manifests import Manifest
from lake_pipeline.schemas import Schema
from lake_pipeline.store import Store

__all__ = ["RECORDS", "Clock", "Job", "convert"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One attempt at one manifest.

    `staging` is a local folder that is filled with `data/` and, where records were set aside, `records.ndjson`;
    `scratch` is a local folder for copies and spilling; `memory` is DuckDB's limit, such as `2GiB`. Rows that
    `erasures` ask for are left out.
    """

    dataset: Dataset
    manifest: Manifest
    schema: Schema
    attempt: int
    staging: Path
    scratch: Path
    threads: int
    memory: str
    erasures: tuple[Erasure, ...] = ()

    @property
    def name(self) -> str:
        """How the names of merged files begin."""
        return f"{self.manifest.manifest_id}-a{self.attempt}"


class Clock:
    """Wall-clock seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 3)


def convert(job: Job, store: Store, on_progress: Callable[[str], None] = _log.info) -> Results:
    """Read every raw file of the manifest and stage its rows, as Parquet or JSON lines.

    Raises:
        CheckInvalid: a declared check cannot be evaluated.
        ReferenceInvalid: a reference for enrichment cannot be used.
        SchemaConflict: the data breaks the dataset's rules for schemas.
        PredicateInvalid: an erasure asks for columns that the table does not have.
        ConservationError: a row is missing or doubled; nothing may be published.
        ObjectChanged: a raw file changed while it was read.
    """
    clock, dataset = Clock(), job.dataset
    means = Means(job.scratch, job.threads, job.memory)
    references = load_references(dataset.transform, store)
    job.scratch.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(job.threads, 1)) as pool:
        with clock.step("fetch"):
            raw, failed = fetch(job.manifest.files, store, job.scratch)
        on_progress(f"{len(raw):,} files at hand, {len(failed)} missing or changed")
        with clock.step("survey"):
            survey = survey_of(dataset, job.schema)
            survey.look(raw, pool, job.threads)
            found = survey.found
            found.settle()
        failed += failed_files(job.manifest.files, found)
        readable = [file for file in raw if file.id in found.rows]
        on_progress(f"{sum(found.rows.values()):,} records seen, {len(found.unreadable)} files unreadable")
        schema, changes = settle(dataset, job.schema, found.root)
        recipe = Recipe.of(dataset, job.schema, schema, references, found.root)
        writer = Writer(dataset, recipe, references, job.name, job.erasures)
        with clock.step("write"):
            outputs, counts = writer.write(readable, survey.proof, job.staging, means, pool)
        on_progress(f"{sum(output.rows for output in outputs):,} rows staged in {len(outputs)} files")
    with clock.step("verify"):
        read = {file.id for file in readable}
        check_unchanged((file for file in job.manifest.files if file.id in read), store)
        files = [*failed, *file_results(job.manifest.files, found, counts)]
    with clock.step("checks"):
        keys = {file.id: file.key for file in job.manifest.files}
        checks = evaluate(dataset.checks, dataset.output, schema, job.staging / DATA, outputs, keys)
    return Results(
        files=tuple(files),
        outputs=outputs,
        schema=schema,
        base_version=job.schema.version,
        changes=tuple(change.to_json() for change in changes),
        quarantined_records=counts.quarantined.total() > 0,
        bytes_read=sum(file.path.stat().st_size for file in raw if file.id not in found.vanished),
        seconds=clock.seconds,
        checks=checks,
    )
