"""`lake run`: the same assets on the same instance as the daemon's runs, without a daemon."""

from __future__ import annotations

import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.extracts import extract_key
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.instance import open_instance, storage_errors
from lake_pipeline.defs.keys import extracts_job_name, job_name
from lake_pipeline.defs.orphans import fail_orphans, worker_tag
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.defs.run_tags import attempt_tags
from lake_pipeline.defs.signals import own_sigterm
from lake_pipeline.discovery.listing import Discovered, discover
from lake_pipeline.discovery.named import discover_named
from lake_pipeline.errors import EngineError, ExtractFailed, LedgerUnreachable
from lake_pipeline.extracts import stale_extracts
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import DueManifest
from lake_pipeline.progress import due_work, finish_erasures, finish_interrupted, prune_records

_AT_ONCE = 100
_LOOK_AGAIN_SECONDS = 2
_MOST_BEGINS = 3  # of one attempt: Dagster fails a run that it cannot record
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """What a run has to tell: a listing that goes on, a manifest that began or ended, or manifests that others run."""

    dataset: str
    discovered: Discovered | None = None
    manifest: DueManifest | None = None
    succeeded: bool | None = None
    waiting_for: int = 0


def run_datasets(
    lake: Lake,
    datasets: list[Dataset],
    tell: Callable[[Progress], None],
    *,
    keys: list[str] | None = None,
    verbose: bool = False,
    is_told_to_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Discover, plan and materialize until nothing is pending; the number of manifests that were run.

    A failed file or manifest is tried again at once, up to its dataset's limit. With `keys`, only these files of one
    dataset are registered and run. `verbose` shows Dagster's log. Once `is_told_to_stop`, nothing more is begun.

    Raises:
        LedgerMismatch: the ledger is not this lake's, or is older than it; nothing was done.
        UnknownFile: one of the keys is no raw file.
        ExtractFailed: everything was run, and an extract could not be made.
        LedgerUnreachable: the database stayed away; a later run finishes what was begun.
    """
    check_ledger(lake, datasets)
    definitions = lake_definitions(list(lake.datasets.values()), lake.settings.engine)
    ran, failures = 0, list[str]()
    with storage_errors(), own_sigterm(), open_instance(lake.settings) as instance:
        fail_orphans(instance)
        for dataset in datasets:
            if not is_told_to_stop():
                ran += _run_dataset(lake, dataset, definitions, instance, tell, keys, verbose, is_told_to_stop)
            if not is_told_to_stop():
                failures += _refresh_extracts(lake, dataset, definitions, instance)
    if failures:
        raise ExtractFailed("; ".join(failures))
    return ran


def _refresh_extracts(
    lake: Lake, dataset: Dataset, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> list[str]:
    """Make stale extracts anew, each in a run of its own; why some could not be made."""
    failures = []
    for extract in stale_extracts(lake, dataset):
        result = definitions.resolve_job_def(extracts_job_name(dataset)).execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            asset_selection=[extract_key(dataset, extract)],
            tags=worker_tag(),
            raise_on_error=False,
        )
        if _interrupted(result):
            raise KeyboardInterrupt
        for event in result.all_events:
            if event.is_step_failure:
                told = event.step_failure_data.user_failure_data
                failures.append((told.description if told else None) or f"{dataset.name}.{extract.name}")
    return failures


def _run_dataset(
    lake: Lake,
    dataset: Dataset,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    tell: Callable[[Progress], None],
    keys: list[str] | None,
    verbose: bool,
    is_told_to_stop: Callable[[], bool],
) -> int:
    def listing(found: Discovered) -> None:
        tell(Progress(dataset.name, discovered=found))

    if keys is None:
        discover(dataset, lake.store, lake.ledger, on_progress=listing)
    else:
        listing(discover_named(dataset, lake.store, lake.ledger, keys))
    finish_interrupted(lake, dataset)
    finish_erasures(lake, dataset)
    prune_records(lake, dataset)
    job = definitions.resolve_job_def(job_name(dataset))
    partitions = manifest_partitions(dataset).name or ""
    ran = failed = 0
    begins: Counter[tuple[str, int]] = Counter()
    while due := _next(lake, dataset, tell, keys, is_told_to_stop):
        begins.update((found.manifest_id, found.next_attempt) for found in due)
        if again := [found for found in due if begins[found.manifest_id, found.next_attempt] > _MOST_BEGINS]:
            # Its run fails before it begins the attempt that the ledger would count, so it would be tried for ever.
            raise EngineError(f"{dataset.name} {again[0].manifest_id} cannot be begun; `lake dev` shows its run's log")
        instance.add_dynamic_partitions(partitions, [manifest.manifest_id for manifest in due])
        for manifest in due:
            if is_told_to_stop() or dataset.name in lake.ledger.pauses():
                break
            tell(Progress(dataset.name, manifest=manifest))
            try:
                succeeded = _run(job, dataset, manifest, instance, verbose)
            except LedgerUnreachable as error:
                _log.warning("the run of %s was not recorded: %s", manifest.manifest_id, error)
                # What became of the manifest is in the ledger, which waits for the database.
                succeeded = lake.ledger.manifest(dataset.name, manifest.manifest_id).state == "COMMITTED"
            tell(Progress(dataset.name, manifest=manifest, succeeded=succeeded))
            ran, failed = ran + 1, failed + (not succeeded)
    if failed:
        # What failed attempts have staged, and what is left to do where one failed after its commit.
        finish_interrupted(lake, dataset)
    return ran


def _next(
    lake: Lake,
    dataset: Dataset,
    tell: Callable[[Progress], None],
    keys: list[str] | None,
    is_told_to_stop: Callable[[], bool],
) -> list[DueManifest]:
    """The manifests to run now; where others are at work, what they leave over once they have ended or died."""
    while not is_told_to_stop() and dataset.name not in lake.ledger.pauses():
        if due := due_work(lake, dataset, flush=True, limit=_AT_ONCE, backoff=timedelta(), keys=keys):
            return due
        running = lake.ledger.pending_work(dataset.name, dataset.batch.max_retries).running
        others = keys is not None and "PROCESSING" not in lake.ledger.statuses(dataset.name, keys).values()
        if not running or others:
            return []
        tell(Progress(dataset.name, waiting_for=running))
        time.sleep(_LOOK_AGAIN_SECONDS)
    return []


def _run(
    job: dg.JobDefinition, dataset: Dataset, manifest: DueManifest, instance: dg.DagsterInstance, verbose: bool
) -> bool:
    level = "DEBUG" if verbose else "CRITICAL"  # the instance keeps every line either way
    with warnings.catch_warnings(), storage_errors():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        result = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": level}}}},
            partition_key=manifest.manifest_id,
            tags=attempt_tags(dataset, [manifest]) | worker_tag(),
            raise_on_error=False,
        )
    if _interrupted(result):
        raise KeyboardInterrupt  # Dagster records Ctrl-C as the run's failure, and would let us go on
    return result.success


def _interrupted(result: dg.ExecuteInProcessResult) -> bool:
    causes = (event.job_failure_data.error for event in result.all_events if event.is_run_failure)
    names = (dg.DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__)
    return any(cause is not None and cause.cls_name in names for cause in causes)
