"""The manifest document: a batch of raw files, as JSON in the store."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ManifestInvalid
from lake_pipeline.store import Store

_SLUG_LENGTH = 128  # an id is part of file names, which end at 255 bytes


@dataclass(frozen=True)
class ManifestFile:
    """A raw file of a manifest: its ledger id, key, ETag and bytes, and the key where it lies now (the archive's)."""

    id: int
    key: str
    etag: str
    size: int
    location: str


@dataclass(frozen=True)
class Manifest:
    """A batch of raw files of one landing group."""

    dataset: str
    manifest_id: str
    landing_group: str
    files: tuple[ManifestFile, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all its raw files."""
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        """The document, with one file a line."""
        files = ",\n".join(json.dumps(vars(file), ensure_ascii=False) for file in self.files)
        head = {
            "dataset": self.dataset,
            "manifest_id": self.manifest_id,
            "landing_group": self.landing_group,
            "bytes": self.bytes,
        }
        return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "files": [\n{files}\n]}}\n'

    @staticmethod
    def from_json(text: str) -> Manifest:
        """The manifest of a document."""
        document: dict[str, Any] = json.loads(text)
        files = tuple(ManifestFile(**file) for file in document["files"])
        return Manifest(document["dataset"], document["manifest_id"], document["landing_group"], files)


def manifest_key(dataset: Dataset, manifest_id: str) -> str:
    """The document's key in the store."""
    group, _, sequence = manifest_id.rpartition(".")
    return "manifests/" + dataset.batch.manifests.format(dataset=dataset.name, group=group, sequence=sequence)


def write_manifest(store: Store, dataset: Dataset, manifest: Manifest) -> str:
    """Put the document into the store, in place of an older one, and return its key.

    Raises:
        StoreError: the store refused.
    """
    key = manifest_key(dataset, manifest.manifest_id)
    store.put(key, manifest.to_json().encode())
    return key


def read_manifest(store: Store, dataset: Dataset, manifest_id: str) -> Manifest:
    """The document as last written.

    Raises:
        ObjectMissing: there is none.
        ManifestInvalid: it is another manifest's.
    """
    key = manifest_key(dataset, manifest_id)
    manifest = Manifest.from_json(store.get(key).decode())
    if (manifest.dataset, manifest.manifest_id) != (dataset.name, manifest_id):
        raise ManifestInvalid(
            f"{key} is of {manifest.dataset} {manifest.manifest_id}, not {dataset.name} {manifest_id}"
        )
    return manifest


def manifest_slug(landing_group: str) -> str:
    """A landing group as it stands in manifest ids: `2026/week07` is `2026-week07`. Two groups may share one."""
    slug = re.sub(r"[^A-Za-z0-9_.=-]", "_", landing_group.replace("/", "-"))
    return re.sub(r"\.{2,}", ".", slug)[:_SLUG_LENGTH].strip(".") or "_"


def manifest_id(slug: str, sequence: int) -> str:
    """The id of a slug's n-th manifest, such as `2026-week07.0001`; also its partition key in Dagster."""
    return f"{slug}.{sequence:04d}"
