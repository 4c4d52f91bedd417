"""One attempt as a document that any engine can carry: what to convert, with which schema, and where to stage it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lake_pipeline.dataset import Dataset
from lake_pipeline.encryption import Encryption
from lake_pipeline.errors import EngineError, LakeError, ObjectMissing
from lake_pipeline.kernel.convert import Job, convert
from lake_pipeline.kernel.results import Results
from lake_pipeline.manifests import read_manifest
from lake_pipeline.schemas import Schema
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import Store

# What runs a task, on every engine.
SCRIPT = Path(__file__).parents[2] / "glue_scripts" / "convert.py"
STAGING = "_staging/"
DATA = "data/"


@dataclass(frozen=True)
class Task:
    """A conversion to run. `declaration` is the dataset as JSON, `schema` the columns known before this attempt.

    `threads` 0 stands for every core of the machine that runs it.
    `encryption` holds the fields of the store's Encryption, if it has one.
    """

    declaration: dict[str, Any]
    manifest_id: str
    attempt: int
    schema: dict[str, Any]
    store_url: str
    threads: int
    memory: str
    encryption: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(document: dict[str, Any]) -> Task:
        return Task(**document)

    @property
    def dataset(self) -> Dataset:
        return Dataset.model_validate(self.declaration)

    @property
    def store(self) -> Store:
        return Store(self.store_url, Encryption(**self.encryption) if self.encryption else None)

    @property
    def staging(self) -> str:
        """The prefix of everything that this attempt writes."""
        return f"{STAGING}{self.declaration['name']}/{self.manifest_id}/{self.attempt}/"

    @property
    def results_key(self) -> str:
        return self.staging + "results.json"


def run_task(task: Task, on_progress: Callable[[str], None]) -> Results:
    """Convert, stage, and write the results document; the engine's script calls this.

    Raises:
        LakeError: the conversion failed; its class and message stand in the results document too.
    """
    store = task.store
    dataset = task.dataset
    with scratch_folder() as scratch:
        local = store.root / task.staging if store.root else scratch / "staging"
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
        )
        try:
            results = convert(job, store, on_progress)
        except Exception as error:
            message = str(error) if isinstance(error, LakeError) else f"{type(error).__name__}: {error}"
            store.put_json(task.results_key, {"error": {"class": type(error).__name__, "message": message}})
            raise
        if store.root is None:
            staged = sorted(path for path in local.rglob("*") if path.is_file())
            store.upload_all([(path, task.staging + path.relative_to(local).as_posix()) for path in staged])
    store.put_json(task.results_key, results.to_json())
    return results


def read_results(store: Store, task: Task) -> Results:
    """The results document of a finished attempt.

    Raises:
        EngineError: there is none, so the engine died; or it says why the conversion failed.
    """
    try:
        document = store.get_json(task.results_key)
    except ObjectMissing:
        raise EngineError(f"{task.manifest_id}: the engine ended without a results document") from None
    if "error" in document:
        raise EngineError(f"{task.manifest_id}: {document['error']['message']}")
    return Results.from_json(document)
