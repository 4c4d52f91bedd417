"""What a run's tags say: which manifests it takes, and for which attempts at them it was asked."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
    RETRY_NUMBER_TAG,
)

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.ledger.models import DueManifest, ManifestRow

ATTEMPT_TAG = "lake/attempt"
_FIRST, _LAST = ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG


def attempt_tags(dataset: Dataset, manifests: list[DueManifest]) -> dict[str, str]:
    """Tags of a run: which attempts it is for, and that the ledger, not Dagster, says when to try again."""
    attempts = [f"{manifest.manifest_id}/{manifest.next_attempt}" for manifest in manifests]
    # A tag's value is indexed, and the ids of many manifests are longer than an index takes.
    digest = hashlib.sha256("\n".join(attempts).encode()).hexdigest()[:16]
    which = attempts[0] if len(attempts) == 1 else f"{len(attempts)} from {manifests[0].manifest_id}/{digest}"
    return {ATTEMPT_TAG: f"{dataset.name}/{which}", "dagster/max_retries": "0"}


def range_tags(manifests: list[DueManifest]) -> dict[str, str]:
    """Tags of a run of several manifests, neighbours among the partitions: as Dagster's backfills have them."""
    return {_FIRST: manifests[0].manifest_id, _LAST: manifests[-1].manifest_id}


def manifests_of(run: dg.DagsterRun, places: dict[str, int]) -> list[str]:
    """The manifests that a run takes; `places` are those of all partitions."""
    if (single := run.tags.get(PARTITION_NAME_TAG)) is not None:
        return [single]
    first, last = (places.get(run.tags.get(tag, "")) for tag in (_FIRST, _LAST))
    return [] if first is None or last is None else list(places)[first : last + 1]


def places(instance: dg.DagsterInstance, dataset: Dataset, *, more: list[str] | None = None) -> dict[str, int]:
    """Every partition's place, which is that of its addition; `more` are about to be added."""
    known = instance.get_dynamic_partitions(manifest_partitions(dataset).name or "")
    return {key: place for place, key in enumerate(dict.fromkeys([*known, *(more or [])]))}


def is_done(instance: dg.DagsterInstance, run: dg.DagsterRun, manifest: ManifestRow) -> bool:
    """Whether what the run was asked for is done already.

    The lake asks for what is due, and a committed manifest is not. A run that Dagster began again, because its process
    died, leaves out what it had committed; any other of a user's does committed manifests anew.
    """
    if manifest.state != "COMMITTED" or manifest.committed_at is None:
        return False
    if ATTEMPT_TAG in run.tags:
        return True
    if RETRY_NUMBER_TAG not in run.tags:
        return False
    first = instance.get_run_record_by_id(run.get_root_run_id() or run.run_id)
    return first is not None and manifest.committed_at >= _utc(first.create_timestamp)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
