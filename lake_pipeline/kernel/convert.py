"""The conversion of one manifest: a plain function of (manifest, schema, dataset).

Its pieces (fetching.py, survey.py, writing.py, accounts.py) work on any part of a manifest; here they get all of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lake_pipeline.dataset import Dataset
from lake_pipeline.erasures import Erasure
from lake_pipeline.errors import LakeError
from lake_pipeline.kernel.accounts import Counts, failed_files, file_results
from lake_pipeline.kernel.fetching import check_unchanged, fetch
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.one_pass import OnePass
from lake_pipeline.kernel.quality import evaluate
from lake_pipeline.kernel.references import load_references
from lake_pipeline.kernel.results import DATA, RECORDS, Results, StagedFile
from lake_pipeline.kernel.settling import settle, survey_of
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.kernel.survey import Survey
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
    `scratch` is a local folder for copies and spilling; `memory` is what the process may hold, such as `2GiB`. Rows
    that `erasures` ask for are left out.
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
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - start, 3)


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
    means = Means(job.scratch, job.threads, job.memory, whole_process=True)
    references = load_references(dataset.transform, store)
    job.scratch.mkdir(parents=True, exist_ok=True)

    def recipe_of(seen: Node) -> Recipe:
        return Recipe.of(dataset, job.schema, settle(dataset, job.schema, seen)[0], references, seen)

    def writer_of(recipe: Recipe) -> Writer:
        return Writer(dataset, recipe, references, job.name, job.erasures)

    with ThreadPoolExecutor(max(job.threads, 1)) as pool:
        with clock.step("fetch"):
            raw, failed = fetch(job.manifest.files, store, job.scratch)
        on_progress(f"{len(raw):,} files at hand, {len(failed)} missing or changed")
        with clock.step("survey"):
            survey = survey_of(dataset, job.schema)
            once = None
            if isinstance(survey, Survey) and dataset.output.files != "one_to_one":
                once = OnePass(survey, recipe_of, raw, pool, job.threads)
        with clock.step("write"):
            written = _written_at_once(once, writer_of, job.staging, raw, means, pool) if once else None
        with clock.step("survey"):
            if not once:
                survey.look(raw, pool, job.threads)
            elif not written:
                once.finish(raw, pool, job.threads)
            found = survey.found
            found.settle()
        failed += failed_files(job.manifest.files, found)
        readable = [file for file in raw if file.id in found.rows]
        on_progress(f"{sum(found.rows.values()):,} records seen, {len(found.unreadable)} files unreadable")
        schema, changes = settle(dataset, job.schema, found.root)
        with clock.step("write"):
            outputs, counts = written or writer_of(recipe_of(found.root)).write(
                readable, survey.proof, job.staging, means, pool
            )
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


def _written_at_once(
    once: OnePass,
    writer_of: Callable[[Recipe], Writer],
    staging: Path,
    raw: list[RawFile],
    means: Means,
    pool: Executor,
) -> tuple[tuple[StagedFile, ...], Counts] | None:
    """What was staged in one pass; None where the manifest needs two."""
    if once.recipe is None:
        return None
    try:
        return writer_of(once.recipe).write_sorted(once, raw, staging, means, pool)
    except (LakeError, duckdb.Error) as error:
        if once.error:
            raise once.error from None
        if not once.outgrown and not isinstance(error, LakeError | duckdb.InvalidInputException):
            raise
        _log.info("the first records did not show all of it: %s", error)
        return None
