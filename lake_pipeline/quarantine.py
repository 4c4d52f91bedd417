"""What was set aside: unreadable files whole, and unreadable records of files that were read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.store import Store

# The oldest documents name no attempt.
_DOCUMENT = re.compile(r"(?P<manifest>.+?)(-a(?P<attempt>\d+))?\.ndjson")


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
    for manifest_id, document, when in ledger.records_aside(dataset):
        for record in records(store, document):
            yield SetAside(dataset, record.file, record.line, "BadRecord", record.reason, manifest_id, when)


def records(store: Store, document: str) -> Iterator[SetAsideRecord]:
    """The records that a manifest set aside, one in memory at a time; `document` is the key that the ledger names.

    Raises:
        ObjectMissing: a later commit of the manifest has replaced it.
    """
    for line in store.lines(document):
        entry: dict[str, Any] = json.loads(line)
        raw = base64.b64decode(entry["raw_base64"]) if "raw_base64" in entry else entry["raw"].encode()
        yield SetAsideRecord(entry["file"], entry["line"], entry["reason"], raw)


def clear_records(dataset: str, store: Store, ledger: Ledger) -> None:
    """Delete documents of set-aside records that no commit lists and whose attempt is over. May be repeated."""
    folder = f"quarantine/{dataset}/records/"
    for page in store.list(folder):
        documents = [document for item in page if (document := document_of(folder, item.key))]
        store.delete(ledger.leftover_records(dataset, documents))


def document_of(folder: str, key: str) -> tuple[str, str, int] | None:
    """The key, manifest and attempt of a document of set-aside records; None where its name is not one's."""
    name = _DOCUMENT.fullmatch(key.removeprefix(folder))
    return name and (key, name["manifest"], int(name["attempt"] or 0))
