"""Running a task: convert, stage, and write the results document; the engines' script calls this."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lake_pipeline.disks import naming_full_disks
from lake_pipeline.engines.session import SparkOptions, spark_session
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import LakeError
from lake_pipeline.failpoints import failpoint
from lake_pipeline.kernel.convert import Job, convert
from lake_pipeline.kernel.results import Results
from lake_pipeline.manifests import read_manifest
from lake_pipeline.schemas import Schema
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import Store


def run_task(task: Task, on_progress: Callable[[str], None], spark: SparkOptions | None = None) -> Results:
    """Convert in this process, or on Spark where its options are given and there is more than one part to convert.

    Raises:
        LakeError: the conversion failed; its class and message stand in the results document too.
    """
    task = task if task.threads else replace(task, threads=os.cpu_count() or 1)
    store = task.store
    with scratch_folder() as scratch:
        try:
            failpoint("staging.begun")
            results = (
                _convert_on_spark(task, store, scratch, spark, on_progress)
                if spark
                else _convert_here(task, store, scratch, on_progress)
            )
            failpoint("staging.written")
        except Exception as error:
            message = str(error) if isinstance(error, LakeError) else f"{type(error).__name__}: {error}"
            store.put_json(task.results_key, {"error": {"class": type(error).__name__, "message": message}})
            raise
    store.put_json(task.results_key, results.to_json())
    failpoint("staging.ended")
    return results


def _convert_on_spark(
    task: Task, store: Store, scratch: Path, spark: SparkOptions, on_progress: Callable[[str], None]
) -> Results:
    from lake_pipeline.engines.spark import convert_on_spark, plan  # seldom needed

    manifest, parts = plan(task, store, spark.part_bytes)
    on_progress(f"{len(manifest.files):,} files in {len(parts):,} parts")
    if len(parts) < 2:
        # Nothing to hand out, and a session takes longer to start than this takes.
        return _convert_here(task, store, scratch, on_progress)
    with spark_session(spark, f"lake {manifest.dataset} {manifest.manifest_id}") as session:
        return convert_on_spark(task, store, scratch, session, manifest, parts, on_progress)


def _convert_here(task: Task, store: Store, scratch: Path, on_progress: Callable[[str], None]) -> Results:
    dataset = task.dataset
    local = store.local_path(task.staging) or scratch / "staging"
    # What an earlier process of the same attempt left would be counted as this one's.
    shutil.rmtree(local, ignore_errors=True)
    job = Job(
        dataset=dataset,
        manifest=read_manifest(store, dataset, task.manifest_id),
        schema=Schema.from_json(task.schema),
        attempt=task.attempt,
        staging=local,
        scratch=scratch,
        threads=task.threads or os.cpu_count() or 1,
        memory=task.memory,
        erasures=task.standing,
    )
    places = {"TMPDIR": scratch} | ({"LAKE_STORE": store.root} if store.root else {})
    try:
        with naming_full_disks(places):
            results = convert(job, store, on_progress)
    except BaseException:
        # Nobody will publish it, and the disk may need the room to say why.
        shutil.rmtree(local, ignore_errors=True)
        raise
    if store.root is None:
        staged = sorted(path for path in local.rglob("*") if path.is_file())
        store.upload_all([(path, task.staging + path.relative_to(local).as_posix()) for path in staged])
    return results
