"""One attempt as a document that any engine can carry: what to convert, with which schema, and where to stage it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lake_pipeline.dataset import Dataset
from lake_pipeline.encryption import Encryption
from lake_pipeline.erasures import Erasure
from lake_pipeline.errors import EngineError, ObjectMissing
from lake_pipeline.kernel.results import Results
from lake_pipeline.store import Store

# What runs a task, on every engine.
SCRIPT = Path(__file__).parents[2] / "glue_scripts" / "convert.py"
STAGING = "_staging/"


@dataclass(frozen=True)
class Task:
    """A conversion to run. `declaration` is the dataset as JSON, `schema` the columns known before this attempt.

    `threads` 0 stands for every core of the machine that runs it.
    `encryption` holds the fields of the store's Encryption, if it has one. `erasures` holds those of the requests to
    erase rows that concern the manifest's files; `newest_erasure` is the last request known, whether it does or not.
    """

    declaration: dict[str, Any]
    manifest_id: str
    attempt: int
    schema: dict[str, Any]
    store_url: str
    threads: int
    memory: str
    encryption: dict[str, Any] | None = None
    erasures: list[dict[str, Any]] = field(default_factory=list)
    newest_erasure: int = 0

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        # An engine of an earlier release is told of erasures only where it would have to obey, and then refuses.
        if not self.erasures:
            del document["erasures"], document["newest_erasure"]
        return document

    @staticmethod
    def from_json(document: dict[str, Any]) -> Task:
        return Task(**document)

    @property
    def dataset(self) -> Dataset:
        return Dataset.model_validate(self.declaration)

    @property
    def standing(self) -> tuple[Erasure, ...]:
        return tuple(Erasure(**erasure) for erasure in self.erasures)

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
