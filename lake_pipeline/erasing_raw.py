"""Erasing raw records: archived files that hold records of erased rows get copies without them, which take their place.

The ledger goes on knowing each file by the key and the ETag under which it landed, so that nothing is ingested again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from lake_pipeline.attempts import LEASE, heartbeat
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ErasureRefused, ErasureUnfinished, LakeError, LeaseLost
from lake_pipeline.failpoints import failpoint
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.predicate import matching_sql
from lake_pipeline.kernel.raw_erasing import matching_records, without_records
from lake_pipeline.kernel.references import load_references
from lake_pipeline.kernel.source import RawFile, Unreadable
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.erasure_models import ErasureRow, RawFileToSearch, RewrittenRaw
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import StoredObject
from lake_pipeline.workers import worker_name

_MARK = re.compile(r"~erased-\d+$")
_EVERY_FILE = 2**63 - 1


def check_raw(lake: Lake, dataset: Dataset, keys: Iterable[str]) -> None:
    """Prove that the raw files of matching rows, of these keys, can be rewritten.

    Raises:
        ErasureRefused: they cannot.
    """
    if dataset.schema_.flatten.explode:
        raise ErasureRefused(
            f"{dataset.name}: --raw erases whole records, and schema.flatten.explode makes many rows of one; without"
            " --raw the rows are erased from the table and stay out of it"
        )
    waiting = {
        file.key for file in lake.ledger.raw_files_to_search(dataset.name, _EVERY_FILE) if file.archived_key is None
    }
    if left := sorted({*lake.ledger.not_archived(dataset.name, keys), *waiting}):
        raise ErasureRefused(
            f"{dataset.name}: --raw rewrites files in the archive, and {len(left):,} do not lie there or are not on"
            f" record any more, such as {left[0]}"
        )


def erase_raw(lake: Lake, dataset: Dataset, erasure: ErasureRow) -> list[str]:
    """Rewrite every archived file that holds records of erased rows; the manifests that have to be waited for.

    Raises:
        ErasureUnfinished: a file is not in the archive yet.
    """
    busy = []
    files = lake.ledger.raw_files_to_search(dataset.name, erasure.last_file_id)
    if waiting := [file for file in files if file.archived_key is None]:
        raise ErasureUnfinished(f"{waiting[0].key} is not archived yet; run the same command after `lake run`")
    for manifest_id, group in groupby(files, lambda file: file.manifest_id):
        try:
            if manifest_id:
                _erase_of_manifest(lake, dataset, erasure, manifest_id, list(group))
            else:
                # Versions that were superseded may share a key, which is how rows are told apart.
                for file in group:
                    _commit(lake, dataset, erasure, "", 0, [file])
        except LeaseLost:
            busy.append(manifest_id)
    return busy


def _erase_of_manifest(
    lake: Lake, dataset: Dataset, erasure: ErasureRow, manifest_id: str, files: list[RawFileToSearch]
) -> None:
    attempt = lake.ledger.hold_manifest(dataset.name, manifest_id, worker_name(), LEASE)
    try:
        with heartbeat(lake.ledger, dataset.name, manifest_id, attempt):
            _commit(lake, dataset, erasure, manifest_id, attempt, files)
    except BaseException:
        with suppress(LakeError):
            lake.ledger.let_go_manifest(dataset.name, manifest_id, attempt)
        raise


def _commit(
    lake: Lake, dataset: Dataset, erasure: ErasureRow, manifest_id: str, attempt: int, files: list[RawFileToSearch]
) -> None:
    with scratch_folder() as scratch:
        rewritten, unread = _rewritten(lake, dataset, erasure, files, scratch)
    if not rewritten and not unread:
        if manifest_id:
            lake.ledger.let_go_manifest(dataset.name, manifest_id, attempt)
        return
    failpoint("erase.raw_copied")
    lake.ledger.commit_raw(erasure.id, dataset.name, manifest_id, attempt, rewritten, unread)
    failpoint("erase.raw_rewritten")


def _rewritten(
    lake: Lake, dataset: Dataset, erasure: ErasureRow, files: list[RawFileToSearch], scratch: Path
) -> tuple[list[RewrittenRaw], dict[str, str]]:
    """Put a copy beside each file that holds matching records, without them; and why files could not be searched."""
    means = Means(scratch, lake.settings.threads or os.cpu_count() or 1, lake.settings.memory)
    at_hand, before = [], dict[str, tuple[RawFileToSearch, StoredObject]]()
    unread = {}
    found_there = lake.store.heads([file.archived_key or "" for file in files])
    for file, there in zip(files, found_there, strict=True):
        if there is None:
            unread[file.key] = f"{file.archived_key} is not in the store"
            continue
        at_hand.append(RawFile(file.id, file.key, lake.store.fetch(there.key, scratch, size=file.size)))
        before[file.key] = file, there
    schema, references = lake.schema(dataset.name), load_references(dataset.transform, lake.store)
    found, unreadable = matching_records(at_hand, dataset, schema, references, matching_sql(erasure.predicate), means)
    unread |= unreadable
    rewritten = []
    for raw in at_hand:
        if raw.key in found:
            file, there = before[raw.key]
            after = _MARK.sub("", there.key) + f"~erased-{erasure.id}"
            target = scratch / f"erased-{file.id}"
            try:
                left = without_records(raw, dataset.source, found[raw.key], target)
            except Unreadable as error:
                unread[raw.key] = str(error)
                continue
            if not left:
                target.write_bytes(b"")
            lake.store.upload(target, after)
            copy = lake.store.head(after)
            target.unlink()
            erased = len(found[raw.key])
            rewritten.append(
                RewrittenRaw(file.id, file.key, there.key, there.etag, after, copy.etag, copy.size, erased)
            )
    return rewritten, unread


def sweep_raw(lake: Lake, erasure: ErasureRow) -> None:
    """Delete what rewritten files were before. May be repeated."""
    with lake.ledger.sweeping(erasure.dataset):
        for step in lake.ledger.erasure_steps(erasure.id):
            before = [(raw["before"], raw["before_etag"]) for raw in step.raw if "before" in raw]
            there = lake.store.heads([key for key, _ in before])
            # Another version may have been archived under the name since it was free.
            lake.store.delete(
                [key for (key, etag), found in zip(before, there, strict=True) if found and found.etag == etag]
            )
