"""What the lake writes down of itself in its store, below `_lake/`: names and forms of those documents."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any

from lake_pipeline.errors import ManifestInvalid, ObjectMissing
from lake_pipeline.store import Store

ROOT = "_lake/"
IDENTITY = f"{ROOT}identity.json"
# The form of a commit document that this release writes, and the newest that it reads.
FORM = 1


def mark_key(dataset: str) -> str:
    """Where a dataset's high-water mark is."""
    return f"{ROOT}marks/{dataset}.json"


def schemas_folder(dataset: str) -> str:
    return f"{ROOT}schemas/{dataset}/"


def schema_key(dataset: str, version: int) -> str:
    return f"{schemas_folder(dataset)}{version:06d}.json"


def commits_folder(dataset: str) -> str:
    return f"{ROOT}commits/{dataset}/"


def commit_key(dataset: str, manifest_id: str, changes: int) -> str:
    """Each change has a document of its own, so that a late writer never replaces a newer one."""
    return f"{commits_folder(dataset)}{manifest_id}/{changes:06d}.ndjson.gz"


def erasures_folder(dataset: str) -> str:
    return f"{ROOT}erasures/{dataset}/"


def erasure_request_key(dataset: str, erasure: int) -> str:
    """Where a request to erase rows stands, with its condition; the report beside it has only the condition's hash."""
    return f"{erasures_folder(dataset)}{erasure}.request.json"


def erasure_report_key(dataset: str, erasure: int) -> str:
    return f"{erasures_folder(dataset)}{erasure}.json"


def parse_commit_key(dataset: str, key: str) -> tuple[str, int] | None:
    """The manifest's id and the number of changes; None where it is no such key."""
    manifest_id, _, name = key.removeprefix(commits_folder(dataset)).rpartition("/")
    number = name.removesuffix(".ndjson.gz")
    return (manifest_id, int(number)) if manifest_id and number.isdecimal() and number != name else None


def encode_commit(
    dataset: str, manifest: dict[str, Any], files: Iterable[dict[str, Any]], outputs: Iterable[dict[str, Any]]
) -> bytes:
    """A commit document: lines of JSON, first the manifest, then its files, then its outputs, under gzip's checksum."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as lines:
        lines.write(_line({"form": FORM, "dataset": dataset, "manifest": manifest}))
        for file in files:
            lines.write(_line({"file": file}))
        for output in outputs:
            lines.write(_line({"output": output}))
    return buffer.getvalue()


def decode_commit(data: bytes, dataset: str, manifest_id: str) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """The manifest of a commit document, and its lines of files and outputs as they are unpacked.

    Raises:
        ManifestInvalid: it is damaged, of a newer release, or another manifest's. The lines may raise it too.
    """
    lines = _lines(data, f"the commit document of {dataset} {manifest_id}")
    head = next(lines, {})
    form, manifest = head.get("form"), head.get("manifest") or {}
    if not isinstance(form, int) or form > FORM:
        raise ManifestInvalid(f"{dataset} {manifest_id}: a commit document of form {form}, and {FORM} is known")
    if (head.get("dataset"), manifest.get("manifest_id")) != (dataset, manifest_id):
        raise ManifestInvalid(f"{dataset} {manifest_id}: its commit document is another's")
    return manifest, lines


def _lines(data: bytes, what: str) -> Iterator[dict[str, Any]]:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            for line in unpacked:
                yield json.loads(line)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ManifestInvalid(f"{what} is damaged: {error}") from error


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, default=_text).encode() + b"\n"


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def read_document(store: Store, key: str) -> dict[str, Any] | None:
    """A JSON document; None where there is none.

    Raises:
        ManifestInvalid: it is no JSON object.
    """
    try:
        document = store.get_json(key)
    except ObjectMissing:
        return None
    except ValueError as error:
        raise ManifestInvalid(f"{key} is damaged: {error}") from error
    if not isinstance(document, dict):
        raise ManifestInvalid(f"{key} is damaged: it is no JSON object")
    return document
