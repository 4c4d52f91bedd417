"""One attempt at one manifest, from its lease to its archive. No Dagster: the engine is handed in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from lake_pipeline.archiving import archive
from lake_pipeline.backoff import pauses
from lake_pipeline.catalog.contract import catalog_of
from lake_pipeline.costing import attempt_bill
from lake_pipeline.dataset import Dataset
from lake_pipeline.engines.task import Task, read_results
from lake_pipeline.errors import (
    DeclarationError,
    EngineUnreachable,
    ErasureRaced,
    LakeError,
    LeaseLost,
    LedgerError,
    SchemaRaced,
    VersionsWithdrawn,
)
from lake_pipeline.failpoints import failpoint
from lake_pipeline.guard import check_ledger
from lake_pipeline.kernel.results import Results
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.manifests import Manifest
from lake_pipeline.notices.telling import tell
from lake_pipeline.planning import current_manifest
from lake_pipeline.publishing import clean, publish
from lake_pipeline.recording import record_commits
from lake_pipeline.staging import clear_attempt
from lake_pipeline.versions import withdraw_failed
from lake_pipeline.workers import worker_name

_log = logging.getLogger(__name__)
LEASE = timedelta(minutes=2)
# Each loser of a race converts again with the winner's schema; ten in a row means something else is wrong.
_RACES = 10


@dataclass(frozen=True)
class Outcome:
    """A committed attempt; `bill` is what it took, as costs/bill.py has it."""

    manifest: Manifest
    attempt: int
    results: Results
    archived: int
    bill: dict[str, Any]


def run_attempt(
    lake: Lake,
    dataset: Dataset,
    manifest_id: str,
    engine: Callable[[Task], float | None],
    is_unwanted: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Convert a manifest with `engine`, then publish, commit, clean and archive it.

    `engine` has the results document in the store, and returns the DPU-seconds that AWS bills for it, if it does.
    An attempt that is interrupted is given back, as if it had not been begun; if it then `is_unwanted`, it has failed,
    for what somebody has cancelled is not to be begun again without end.

    Raises:
        LakePaused: the dataset is paused; nothing was begun.
        LedgerMismatch: the ledger is not this lake's, or is older than it; nothing was begun.
        LeaseLost: another worker holds the manifest, or took it over.
        VersionsWithdrawn: new versions cannot be read; without them the manifest is committed as it was, or due again.
        LakeError: the attempt failed; the ledger says so too, and the manifest may be tried again.
    """
    lake.ledger.check_not_paused(dataset.name)
    check_ledger(lake, [dataset])
    ledger, store, began = lake.ledger, lake.store, time.monotonic()
    attempt = ledger.begin_attempt(dataset.name, manifest_id, worker_name(), LEASE)
    try:
        with heartbeat(ledger, dataset.name, manifest_id, attempt):
            failpoint("attempt.begun")
            _check_format(lake, dataset)
            manifest = current_manifest(ledger, store, dataset, manifest_id)
            results, leftovers, dpu_seconds = _convert_and_publish(lake, dataset, manifest, attempt, engine)
    except LeaseLost:
        with suppress(LakeError):  # the next pass does it then
            clear_attempt(lake, dataset.name, manifest_id, attempt)
        raise
    except VersionsWithdrawn:
        # The ledger says so already, and nothing of the table was touched.
        record_commits(dataset.name, store, ledger, manifest_id)
        archive(dataset, store, ledger, manifest_id)
        tell(lake, dataset)
        raise
    except Exception as error:
        with suppress(LeaseLost):
            ledger.fail_attempt(
                dataset.name, manifest_id, attempt, _reason(error), run_goes_on=_engine_may_go_on(error)
            )
        tell(lake, dataset)
        raise
    except BaseException:
        # Ctrl-C, SIGTERM or a run cancelled in the UI: who is told to end has no time to tell others.
        with suppress(Exception):  # what a worker that is gone has not given back is taken from it
            if is_unwanted():
                ledger.fail_attempt(dataset.name, manifest_id, attempt, "cancelled", run_goes_on=True)
            else:
                ledger.release_attempt(dataset.name, manifest_id, attempt)
        raise
    # The rows are safe by now: what fails from here on is finished by the next pass, and undoes nothing.
    catalog_of(lake.settings).refresh(lake, dataset)
    failpoint("clean.refreshed")
    # Only now, for until then readers were still sent to the files of the attempt before.
    clean(dataset.name, leftovers, store, ledger)
    archived = archive(dataset, store, ledger, manifest_id)
    cost = attempt_bill(lake.settings, dataset, manifest, results, time.monotonic() - began, dpu_seconds)
    ledger.record_cost(dataset.name, manifest_id, attempt, cost)
    tell(lake, dataset)
    return Outcome(manifest, attempt, results, archived, cost)


def call_off(lake: Lake, dataset: Dataset, manifest_ids: list[str]) -> None:
    """Count manifests as failed that were due and not begun yet, because somebody has cancelled the run of them.

    As good as it goes: who is told to end has no time for more.
    """
    with suppress(LakeError):
        for manifest_id in manifest_ids:
            if lake.ledger.manifest(dataset.name, manifest_id).state in ("PLANNED", "FAILED"):
                attempt = lake.ledger.begin_attempt(dataset.name, manifest_id, worker_name(), LEASE)
                lake.ledger.fail_attempt(dataset.name, manifest_id, attempt, "cancelled")


def _reason(error: Exception) -> str:
    """What the ledger says of a failed attempt."""
    return str(error) if isinstance(error, LakeError) else f"{type(error).__name__}: {error}"


def _engine_may_go_on(error: Exception) -> bool:
    """Whether the engine's run may not have ended: it was asked to stop, which takes a while, or cannot be asked."""
    return isinstance(error, EngineUnreachable) or not isinstance(error, LakeError)


def _check_format(lake: Lake, dataset: Dataset) -> None:
    """A table has files of one format, which is that of any of them.

    Raises:
        DeclarationError: `output.format` has changed since there are files.
    """
    path = lake.ledger.example_output(dataset.name)
    if path is not None and not path.endswith(f".{dataset.output.format}"):
        raise DeclarationError(
            f"{dataset.name}: output.format is {dataset.output.format}, and the table has files of another, such as"
            f" {path}: declare another dataset, or put the format back"
        )


def _convert_and_publish(
    lake: Lake, dataset: Dataset, manifest: Manifest, attempt: int, engine: Callable[[Task], float | None]
) -> tuple[Results, list[str], float | None]:
    """The results, what earlier attempts left under final names, and the DPU-seconds of all conversions.

    Converted anew where the schema was changed meanwhile, or rows were to be erased.
    """
    dpu_seconds: float | None = None
    for race in range(_RACES):
        erasures = lake.ledger.standing_erasures(dataset.name)
        task = Task(
            declaration=dataset.model_dump(mode="json", by_alias=True),
            manifest_id=manifest.manifest_id,
            attempt=attempt,
            schema=lake.schema(dataset.name).to_json(),
            store_url=lake.settings.store_url,
            threads=lake.settings.threads or 0,
            memory=lake.settings.memory,
            encryption=asdict(lake.settings.encryption) if lake.settings.encryption else None,
            erasures=[asdict(erasure) for erasure in erasures if erasure.concerns(manifest)],
            newest_erasure=max((erasure.id for erasure in erasures), default=0),
        )
        if billed := engine(task):
            dpu_seconds = (dpu_seconds or 0.0) + billed
        failpoint("attempt.converted")
        results = read_results(lake.store, task)
        withdraw_failed(lake, dataset, manifest.manifest_id, attempt, results)
        try:
            return results, publish(task, results, lake.store, lake.ledger), dpu_seconds
        except (SchemaRaced, ErasureRaced):
            if race + 1 == _RACES:
                raise
    raise AssertionError("unreachable")


@contextmanager
def heartbeat(ledger: Ledger, dataset: str, manifest_id: str, attempt: int) -> Iterator[None]:
    """Renew the lease in the background; a lost lease shows at the commit, which checks the attempt's number."""
    stop = threading.Event()

    def beat() -> None:
        pause, sooner = LEASE.total_seconds() / 4, pauses(1, 8)
        while not stop.wait(pause):
            try:
                ledger.heartbeat(dataset, manifest_id, attempt, LEASE)
                pause, sooner = LEASE.total_seconds() / 4, pauses(1, 8)
            except LeaseLost:
                return
            except LedgerError as error:
                # A database that is away for a moment must not cost the lease: the next beat may be in time.
                pause = next(sooner)
                _log.warning("heartbeat of %s %s: %s; again in %.0f s", dataset, manifest_id, error, pause)

    thread = threading.Thread(target=beat, name=f"heartbeat-{manifest_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
