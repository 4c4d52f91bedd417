"""What a ledger is rebuilt from: the documents of commits, schemas and manifests, and listings of the store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby
from typing import Any

from lake_pipeline.dataset import Dataset
from lake_pipeline.discovery.listing import is_raw_file
from lake_pipeline.documents import (
    commit_key,
    commits_folder,
    decode_commit,
    erasure_report_key,
    erasures_folder,
    parse_commit_key,
    schemas_folder,
)
from lake_pipeline.engines.task import STAGING
from lake_pipeline.errors import LakeError, ManifestInvalid
from lake_pipeline.ledger.erasure_models import ErasureRow
from lake_pipeline.ledger.models import SchemaVersion
from lake_pipeline.ledger.rebuilding import Rebuild
from lake_pipeline.manifests import Manifest, manifest_key
from lake_pipeline.store import Store

_RECORDS = re.compile(r"(?P<manifest>.+)-a(?P<attempt>\d+)\.ndjson")


@dataclass(frozen=True)
class Documents:
    """Which commit documents there are: manifests that were read, and those damaged, with their number of changes."""

    read: set[str]
    damaged: dict[str, int]


def load_commits(store: Store, dataset: str, rebuild: Rebuild) -> Documents:
    """The newest commit document of each manifest. An older one would not know where its raw files have gone since."""
    found = Documents(set(), {})
    keys = (item.key for item in chain.from_iterable(store.list(commits_folder(dataset))))
    named = (name for key in keys if (name := parse_commit_key(dataset, key)))
    by_manifest = groupby(((manifest_id, changes) for manifest_id, changes in named), key=lambda name: name[0])
    for manifest_id, versions in by_manifest:
        changes = max(changes for _, changes in versions)
        try:
            _load(store, dataset, manifest_id, changes, rebuild)
            found.read.add(manifest_id)
        except ManifestInvalid:
            found.damaged[manifest_id] = changes
    return found


def _load(store: Store, dataset: str, manifest_id: str, changes: int, rebuild: Rebuild) -> None:
    manifest, lines = decode_commit(store.get(commit_key(dataset, manifest_id, changes)), dataset, manifest_id)
    try:
        rebuild.add_commit(manifest, lines)
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestInvalid(f"{dataset} {manifest_id}: its commit document lacks {error}") from error


def load_schemas(store: Store, dataset: str) -> list[SchemaVersion]:
    """Every version of the schema that can be read, oldest first."""
    versions = []
    for item in chain.from_iterable(store.list(schemas_folder(dataset))):
        try:
            document: dict[str, Any] = store.get_json(item.key)
            created_at = datetime.fromisoformat(document["created_at"])
            versions.append(SchemaVersion(**document | {"created_at": created_at}))
        except (ValueError, KeyError, TypeError):
            continue
    return versions


def load_erasures(store: Store, dataset: str) -> list[ErasureRow]:
    """Every request to erase rows, oldest first; ended, where its report is there.

    Raises:
        ManifestInvalid: a request cannot be read. Without it a replay would bring back what was erased.
    """
    requests = []
    for item in chain.from_iterable(store.list(erasures_folder(dataset))):
        if not item.key.endswith(".request.json"):
            continue
        try:
            request: dict[str, Any] = store.get_json(item.key)
            request["begun_at"] = datetime.fromisoformat(request["begun_at"])
            requests.append(ErasureRow(**request, **_ending(store, dataset, request["id"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestInvalid(f"{item.key}, a request to erase rows, is damaged: {error}") from error
    return sorted(requests, key=lambda request: request.id)


def _ending(store: Store, dataset: str, erasure: int) -> dict[str, Any]:
    key = erasure_report_key(dataset, erasure)
    if not store.exists(key):
        return dict.fromkeys(("ended_at", "rows_erased", "report_key", "report_sha256"))
    text = store.get(key)
    report = json.loads(text)
    return {
        "ended_at": datetime.fromisoformat(report["verified_at"]),
        "rows_erased": report["rows_erased"],
        "report_key": key,
        "report_sha256": hashlib.sha256(text).hexdigest(),
    }


def load_plans(store: Store, dataset: Dataset, documents: Documents, rebuild: Rebuild) -> int:
    """Manifests that no commit document tells of; how many those are."""
    known = {manifest_key(dataset, manifest_id) for manifest_id in documents.read}
    planned = set[str]()
    for item in chain.from_iterable(store.list("manifests/")):
        if item.key in known or not item.key.endswith(".json"):
            continue
        try:
            manifest = Manifest.from_json(store.get(item.key).decode())
            ours = manifest.dataset == dataset.name and manifest.manifest_id.rpartition(".")[2].isdecimal()
        except (ValueError, KeyError, TypeError, AttributeError, LakeError):
            continue  # a stranger's
        if ours and manifest.manifest_id not in documents.read | planned:
            rebuild.add_planned(manifest, documents.damaged.get(manifest.manifest_id, 0))
            planned.add(manifest.manifest_id)
    return len(planned)


def load_listings(store: Store, dataset: Dataset, rebuild: Rebuild) -> None:
    """Raw files and curated ones wherever they may lie, and which attempts have left something."""
    folders = [dataset.source.prefix, dataset.output.stem, dataset.archive.prefix, f"quarantine/{dataset.name}/files/"]
    for folder in filter(None, folders):
        for page in store.list(folder):
            rebuild.add_stored(item for item in page if is_raw_file(item))
    rebuild.add_seen(_attempts(store, dataset.name))


def _attempts(store: Store, dataset: str) -> Iterator[tuple[str, int]]:
    staging, records = f"{STAGING}{dataset}/", f"quarantine/{dataset}/records/"
    for item in chain.from_iterable(store.list(staging)):
        manifest_id, _, rest = item.key.removeprefix(staging).partition("/")
        attempt = rest.partition("/")[0]
        if attempt.isdecimal():
            yield manifest_id, int(attempt)
    for item in chain.from_iterable(store.list(records)):
        if match := _RECORDS.fullmatch(item.key.removeprefix(records)):
            yield match["manifest"], int(match["attempt"])
