"""A conversion on Spark: the driver plans parts and puts their results together, executors run the kernel on each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lake_pipeline.engines.cluster import Cluster
from lake_pipeline.engines.merging import plan_merges, shares
from lake_pipeline.engines.stages import Surveyed, Written, merge_share, survey_part, write_part
from lake_pipeline.engines.task import Task
from lake_pipeline.kernel.accounts import Counts, failed_files, file_results
from lake_pipeline.kernel.convert import Clock
from lake_pipeline.kernel.layout import FILE_BYTES
from lake_pipeline.kernel.parts import Part, find_cuts, plan_parts
from lake_pipeline.kernel.quality import evaluate
from lake_pipeline.kernel.references import load_references
from lake_pipeline.kernel.results import RECORDS, CheckOutcome, FileResult, Results, StagedFile
from lake_pipeline.kernel.settling import settle, survey_of
from lake_pipeline.kernel.survey import Observation, Proof
from lake_pipeline.kernel.writing import Recipe
from lake_pipeline.manifests import Manifest, read_manifest
from lake_pipeline.schemas import Schema
from lake_pipeline.store import Store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Cuts are found by one or two requests each.
_CONCURRENCY = 16


@dataclass(frozen=True)
class _Seen:
    """A manifest's survey put together: what it holds, and the parts to write with what is known of their blocks."""

    found: Observation
    failed: list[FileResult]
    parts: list[tuple[Part, Proof]]
    bytes: int


def plan(task: Task, store: Store, part_bytes: int) -> tuple[Manifest, list[Part]]:
    """The task's manifest, and its parts of about `part_bytes` of raw files."""
    dataset = task.dataset
    manifest = read_manifest(store, dataset, task.manifest_id)
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        found = pool.map(lambda file: find_cuts(file, dataset.source, store, part_bytes), manifest.files)
        cuts = {file.id: places for file, places in zip(manifest.files, found, strict=True) if places}
    return manifest, plan_parts(manifest.files, part_bytes, cuts)


def convert_on_spark(
    task: Task,
    store: Store,
    scratch: Path,
    session: SparkSession,
    manifest: Manifest,
    parts: list[Part],
    on_progress: Callable[[str], None],
) -> Results:
    """Read every raw file of the manifest and stage its rows, each of its parts in a Spark task.

    Raises: what `kernel.convert.convert` does, and
        EngineError: Spark gave up on a task.
    """
    clock, cluster, dataset = Clock(), Cluster(session), task.dataset
    share, known = cluster.share(task), Schema.from_json(task.schema)
    with clock.step("survey"):
        surveyed = cluster.run("survey", partial(_survey, share), parts)
        seen = _together(manifest, task, parts, surveyed)
    found = seen.found
    on_progress(f"{sum(found.rows.values()):,} records seen, {len(found.unreadable)} files unreadable")
    schema, changes = settle(dataset, known, found.root)
    recipe = Recipe.of(dataset, known, schema, load_references(dataset.transform, store), found.root)
    with clock.step("write"):
        # One task alone has all of the memory.
        means = share if len(seen.parts) > 1 else replace(share, memory=task.memory)
        written = cluster.run("write", partial(_write, means, recipe), seen.parts)
    with clock.step("merge"):
        outputs = _merge(task, share, cluster, [file for one in written for file in one.outputs])
    on_progress(f"{sum(output.rows for output in outputs):,} rows staged in {len(outputs)} files")
    with clock.step("verify"):
        counts = Counts()
        for one in written:
            counts.add(one.counts)
        files = [*seen.failed, *file_results(manifest.files, found, counts)]
        quarantined = _gather_records(task, store, scratch, written)
    with clock.step("checks"):
        checks = _check(task, store, scratch, schema, manifest, outputs)
    return Results(
        files=tuple(files),
        outputs=outputs,
        schema=schema,
        base_version=known.version,
        changes=tuple(change.to_json() for change in changes),
        quarantined_records=quarantined,
        bytes_read=seen.bytes,
        seconds=clock.seconds,
        checks=checks,
    )


def _survey(task: Task, part: Part, _: str) -> Surveyed:
    return survey_part(task, part)


def _write(task: Task, recipe: Recipe, share: tuple[Part, Proof], attempt: str) -> Written:
    return write_part(task, recipe, *share, attempt)


def _together(manifest: Manifest, task: Task, parts: Sequence[Part], surveyed: Sequence[Surveyed]) -> _Seen:
    """What one process would have seen, and its parts with their lines counted from their files' beginnings.

    Raises:
        SchemaConflict: more paths than any schema of this dataset may have.
    """
    whole = survey_of(task.dataset, Schema.from_json(task.schema))
    found = whole.found
    failed = {result.id: result for one in surveyed for result in one.failed}
    for one in surveyed:
        found.unreadable |= one.found.unreadable
        found.too_large |= one.found.too_large
        found.vanished |= {id_: why for id_, why in one.found.vanished.items() if id_ not in failed}
    lines: Counter[int] = Counter()
    placed = []
    for part, one in zip(parts, surveyed, strict=True):
        if part.span:
            file = part.files[0]
            if file.id in failed or file.id in found.vanished:
                continue  # another span of it is lost, so this one teaches nothing
            one.found.root.move(lines[file.id])
            part = replace(part, span=replace(part.span, line=1 + lines[file.id]))
            lines[file.id] += one.lines
        whole.add(one.found)
        placed.append((part, one.proof))
    found.settle(split=lines)
    readable = [
        (replace(part, files=files), proof)
        for part, proof in placed
        if (files := tuple(file for file in part.files if file.id in found.rows))
    ]
    if task.dataset.transform.deduplicate and readable:
        # Equal rows may be in any two parts, so all of a manifest's are looked at together.
        files = tuple(file for file in manifest.files if file.id in found.rows)
        readable = [(Part(files), Proof())]
    results = [*failed.values(), *failed_files(manifest.files, found)]
    return _Seen(found, results, readable, sum(one.bytes for one in surveyed))


def _merge(task: Task, share: Task, cluster: Cluster, outputs: list[StagedFile]) -> tuple[StagedFile, ...]:
    """The parts' files under their final names, small ones of one Hive partition merged."""
    if task.dataset.output.files == "one_to_one":
        return tuple(outputs)
    merges = plan_merges(outputs, f"{task.manifest_id}-a{task.attempt}", FILE_BYTES)
    alone = [replace(merge.inputs[0], path=merge.path, staged=merge.inputs[0].key) for merge in merges if merge.is_done]
    work = shares([merge for merge in merges if not merge.is_done], cluster.slots)
    merged = cluster.run("merge", partial(merge_share, share), work)
    return tuple(sorted([*alone, *(file for one in merged for file in one)], key=lambda file: file.path))


def _gather_records(task: Task, store: Store, scratch: Path, written: Sequence[Written]) -> bool:
    """Put the parts' quarantined records into one document, in the manifest's order; whether there are any."""
    keys = [one.records for one in written if one.records]
    if not keys:
        return False
    gathered = scratch / RECORDS
    with gathered.open("wb") as document:
        for key in keys:
            for line in store.lines(task.staging + key):
                document.write(line + b"\n")
    store.upload(gathered, task.staging + RECORDS)
    return True


def _check(
    task: Task, store: Store, scratch: Path, schema: Schema, manifest: Manifest, outputs: tuple[StagedFile, ...]
) -> tuple[CheckOutcome, ...]:
    """The declared checks, which may look at all rows at once, so the driver has them at hand."""
    dataset = task.dataset
    if not dataset.checks.names:
        return ()
    data = scratch / "checked"
    for file in outputs:
        place = data / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(store.fetch(task.staging + file.key, scratch))
    keys = {file.id: file.key for file in manifest.files}
    return evaluate(dataset.checks, dataset.output, schema, data, outputs, keys)
