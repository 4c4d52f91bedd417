"""What was set aside: unreadable files whole, and unreadable records of files that were read."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.publishing import quarantined_records_key
from lake_pipeline.store import Store


@dataclass(frozen=True)
class SetAside:
    """A file (`line` is None) or a record that is in no table, why, and since when."""

    dataset: str
    file: str
    line: int | None
    error_class: str
    reason: str
    manifest_id: str
    quarantined_at: datetime | None


@dataclass(frozen=True)
class SetAsideRecord:
    """One record with its bytes as they were read."""

    file: str
    line: int
    reason: str
    raw: bytes


def set_aside(store: Store, ledger: Ledger, dataset: str) -> Iterator[SetAside]:
    """Every file and then every record of a dataset that was set aside, streamed."""
    for file in ledger.set_aside(dataset):
        if file.status == "QUARANTINED":
            yield SetAside(
                dataset,
                file.key,
                None,
                file.error_class or "",
                file.error_message or "",
                file.manifest_id,
                file.processed_at,
            )
    folder = quarantined_records_key(dataset, "").removesuffix(".ndjson")
    for item in chain.from_iterable(store.list(folder)):
        manifest_id = item.key.removeprefix(folder).removesuffix(".ndjson")
        when = ledger.manifest(dataset, manifest_id).committed_at
        for record in records(store, dataset, manifest_id):
            yield SetAside(dataset, record.file, record.line, "BadRecord", record.reason, manifest_id, when)


def records(store: Store, dataset: str, manifest_id: str) -> Iterator[SetAsideRecord]:
    """The records that a manifest set aside, one in memory at a time.

    Raises:
        ObjectMissing: it has none.
    """
    for line in store.lines(quarantined_records_key(dataset, manifest_id)):
        entry: dict[str, Any] = json.loads(line)
        raw = base64.b64decode(entry["raw_base64"]) if "raw_base64" in entry else entry["raw"].encode()
        yield SetAsideRecord(entry["file"], entry["line"], entry["reason"], raw)
