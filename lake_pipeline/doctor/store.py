"""The store: reading, writing, copying, listing and deleting under each prefix, by probe objects that are deleted."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, good
from lake_pipeline.documents import ROOT
from lake_pipeline.engines.task import STAGING
from lake_pipeline.errors import StoreError
from lake_pipeline.store import Store

_BODY = b"a probe of lake doctor\n"
_MEND_S3 = (
    "give the role s3:ListBucket on the bucket and s3:GetObject, s3:PutObject, s3:DeleteObject on the prefix, and the"
    " use of the KMS key if there is one: docs/aws-s3.md"
)


def look(at: Examined) -> Iterator[Finding]:
    root = None if at.on_s3 else Path(at.settings.store_url)
    sources = {dataset.source.prefix for dataset in at.datasets}
    for prefix in sorted(prefixes(at)):
        is_source = prefix in sources
        if root is None:
            yield _probed(at.store, prefix, _MEND_S3, is_mark=is_source)
        else:
            folder = root / prefix
            mend = f"chown or chmod {folder}"
            # What is put into a source prefix would be taken for data.
            if not folder.is_dir() or is_source or not _may_be_used(folder):
                yield _judge_folder(prefix, folder, mend)
            else:
                yield _probed(at.store, prefix, mend, is_mark=False)


def prefixes(at: Examined) -> set[str]:
    """Where the lake reads and writes, below the store's root."""
    own = {ROOT, STAGING, "manifests/", "quarantine/"}
    for dataset in at.datasets:
        own |= {dataset.source.prefix, dataset.output.stem.rpartition("/")[0] + "/"}
        own |= {dataset.archive.prefix} if dataset.archive.prefix else set()
    return own


def _probed(store: Store, prefix: str, mend: str, *, is_mark: bool) -> Finding:
    """Try everything that the lake does; an empty mark of a folder is no raw file to any discovery."""
    name = f"{prefix}_lake-doctor-{uuid.uuid4().hex}"
    probe, copy, body = (f"{name}/", f"{name}-copy/", b"") if is_mark else (name, f"{name}-copy", _BODY)
    steps: dict[str, Callable[[], object]] = {
        "write": lambda: store.put(probe, body),
        "read": lambda: store.get(probe),
        "copy": lambda: store.publish(probe, copy),
        "list": lambda: next(iter(store.list(prefix)), None),
        "delete": lambda: store.delete([probe, copy]),
    }
    step = ""
    try:
        for step, act in steps.items():  # noqa: B007 - named in the finding
            act()
    except StoreError as error:
        return bad(prefix, f"{step}: {error.detail}", mend)
    finally:
        with suppress(StoreError):
            store.delete([probe, copy])
    return good(prefix, ", ".join(steps))


def _may_be_used(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _judge_folder(prefix: str, folder: Path, mend: str) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not _may_be_used(there):
        return bad(prefix, f"{there} is no folder that may be read and written", mend)
    return good(prefix, "may be read and written" if there == folder else "not there yet, and may be made")
