"""What a Spark task does: looks at a part of a manifest, writes one, or merges small files; no Spark in it.

Each takes its share from the store and stages what it makes in a folder of this try's own, so that tries that fail
or come second leave nothing where anyone looks: only what is in a returned value is ever published.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lake_pipeline.engines.task import Task
from lake_pipeline.errors import ObjectChanged
from lake_pipeline.kernel.accounts import Counts
from lake_pipeline.kernel.fetching import check_unchanged, fetch
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.merging import merge_parquet
from lake_pipeline.kernel.parts import Part
from lake_pipeline.kernel.references import load_references
from lake_pipeline.kernel.results import RECORDS, FileResult, StagedFile
from lake_pipeline.kernel.settling import survey_of
from lake_pipeline.kernel.source import count_lines
from lake_pipeline.kernel.survey import Observation, Proof
from lake_pipeline.kernel.writing import Recipe, Writer
from lake_pipeline.schemas import Schema
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import Store


@dataclass(frozen=True)
class Surveyed:
    """What a part was seen to hold; `lines`: how many a span has; `bytes`: of the files that were at hand."""

    found: Observation
    failed: list[FileResult]
    proof: Proof
    lines: int
    bytes: int


@dataclass(frozen=True)
class Written:
    """A part's staged files, its accounts, and the key of the records that were set aside, below the staging prefix."""

    outputs: tuple[StagedFile, ...]
    counts: Counts
    records: str | None


@dataclass(frozen=True)
class Merge:
    """Staged files of one Hive partition that are to be one, and the path it gets below the output prefix."""

    path: str
    inputs: tuple[StagedFile, ...]

    @property
    def is_done(self) -> bool:
        """Whether a new name is all that the only file needs."""
        return len(self.inputs) == 1

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.inputs)

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.inputs)


def survey_part(task: Task, part: Part) -> Surveyed:
    """Look at every record of a part."""
    store = task.store
    with scratch_folder() as scratch, ThreadPoolExecutor(task.threads) as pool:
        raw, failed = fetch(part.files, store, scratch, part.span)
        survey = survey_of(task.dataset, Schema.from_json(task.schema))
        survey.look(raw, pool, task.threads)
        lines = count_lines(raw[0]) if part.span and raw else 0
        size = part.span.end - part.span.start if part.span else sum(file.path.stat().st_size for file in raw)
        return Surveyed(survey.found, failed, survey.proof, lines, size)


def write_part(task: Task, recipe: Recipe, part: Part, proof: Proof, attempt: str) -> Written:
    """Stage the rows of a part whose files can all be read; `attempt` names the folder, one for each try.

    Raises:
        ObjectChanged: a file is gone, or is another version by now.
    """
    store, dataset = task.store, task.dataset
    name = f"{task.manifest_id}-a{task.attempt}"
    writer = Writer(dataset, recipe, load_references(dataset.transform, store), name, task.standing)
    with scratch_folder() as scratch, ThreadPoolExecutor(task.threads) as pool:
        raw, failed = fetch(part.files, store, scratch, part.span)
        if failed:
            raise ObjectChanged(f"{failed[0].key}, between survey and write ({failed[0].error_class})")
        with _staged(task, store, scratch, attempt) as folder:
            means = Means(scratch, task.threads, task.memory)
            outputs, counts = writer.write(raw, proof, folder, means, pool)
            check_unchanged(part.files, store)
    placed = (replace(file, staged=f"{attempt}/{file.key}") for file in outputs)
    return Written(tuple(placed), counts, f"{attempt}/{RECORDS}" if counts.quarantined.total() else None)


def merge_share(task: Task, merges: list[Merge], attempt: str) -> list[StagedFile]:
    """Make one file of several, for each merge.

    Raises:
        ConservationError: a row was lost or doubled.
    """
    store = task.store
    with scratch_folder() as scratch, _staged(task, store, scratch, attempt) as folder:
        at_hand = {
            folder / merge.path: [store.fetch(task.staging + file.key, scratch) for file in merge.inputs]
            for merge in merges
        }
        merge_parquet(at_hand, task.dataset.output, Means(scratch, task.threads, task.memory))
        sizes = [(folder / merge.path).stat().st_size for merge in merges]
    return [
        StagedFile(merge.path, merge.rows, size, staged=f"{attempt}/{merge.path}")
        for merge, size in zip(merges, sizes, strict=True)
    ]


@contextmanager
def _staged(task: Task, store: Store, scratch: Path, attempt: str) -> Iterator[Path]:
    """A folder whose files are in the store, under this try's own prefix, once the block has ended."""
    prefix = f"{task.staging}{attempt}/"
    if local := store.local_path(prefix):
        yield local
        return
    folder = scratch / "staged"
    yield folder
    staged = sorted(path for path in folder.rglob("*") if path.is_file())
    store.upload_all([(path, prefix + path.relative_to(folder).as_posix()) for path in staged])
