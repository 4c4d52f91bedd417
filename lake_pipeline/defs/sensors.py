"""Two sensors a dataset, because ticks are replayed: one brings news into the ledger, one turns it into runs.

Both are bounded in time and count and may be repeated without harm; no key set ever sits in a cursor.
"""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import time

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.keys import job_name
from lake_pipeline.defs.orphans import fail_orphans
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.defs.run_tags import ATTEMPT_TAG, attempt_tags, manifests_of, places, range_tags
from lake_pipeline.discovery.listing import discover
from lake_pipeline.guard import check_ledger
from lake_pipeline.ledger.models import DueManifest
from lake_pipeline.progress import due_work, finish_interrupted
from lake_pipeline.sharing import shared_runs

# A tick is cut off after 60 s; a listing that needs longer goes on in the next one.
LISTING_SECONDS = 30
# 100 new keys and as many runs in one tick take the daemon 20-30 s.
MANIFESTS_PER_TICK = 50


def arrivals_sensor(dataset: Dataset) -> dg.SensorDefinition:
    """New raw files → ledger."""

    @dg.sensor(
        name=f"{dataset.name}_arrivals",
        description=f"Lists {dataset.source.prefix} into the ledger.",
        target=dg.AssetSelection.groups(dataset.name),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def arrivals(lake: LakeResource) -> dg.SkipReason:
        at = lake.lake
        check_ledger(at, [dataset])
        found = discover(dataset, at.store, at.ledger, deadline=time.monotonic() + LISTING_SECONDS)
        more = "" if found.complete else "; the listing goes on in the next tick"
        return dg.SkipReason(f"{found.new:,} new of {found.listed:,} listed{more}")

    return arrivals


def work_sensor(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Ledger → manifests, partitions and run requests."""
    partitions = manifest_partitions(dataset)

    @dg.sensor(
        name=f"{dataset.name}_work",
        description=f"Plans manifests of {dataset.name} and starts runs for those that are due, small ones together.",
        job=job,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def work(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        at = lake.lake
        check_ledger(at, [dataset])
        fail_orphans(context.instance)
        finish_interrupted(at, dataset)
        if pause := at.ledger.pauses().get(dataset.name):
            return dg.SkipReason(str(pause))
        failing = at.ledger.open_circuits().get(at.settings.engine)
        if failing is not None and failing.state(at.ledger.now()) == "open":
            # A run begun now would only use up one of its manifest's tries.
            return dg.SkipReason(f"the engine {at.settings.engine} keeps failing: {failing.last_error}")
        due = due_work(at, dataset, flush=False, limit=MANIFESTS_PER_TICK)
        if not due:
            return dg.SkipReason("no manifest is due")
        return dg.SensorResult(
            dynamic_partitions_requests=[partitions.build_add_request([manifest.manifest_id for manifest in due])],
            run_requests=run_requests(context.instance, dataset, due),
        )

    return work


def run_requests(instance: dg.DagsterInstance, dataset: Dataset, due: list[DueManifest]) -> list[dg.RunRequest]:
    """Runs for the manifests that no run is asked for yet; small ones share one."""
    order = places(instance, dataset, more=[manifest.manifest_id for manifest in due])
    under_way = instance.get_runs(dg.RunsFilter(job_name=job_name(dataset), statuses=NOT_FINISHED_STATUSES))
    taken = {manifest_id for run in under_way for manifest_id in manifests_of(run, order)}
    waiting = [manifest for manifest in due if manifest.manifest_id not in taken]
    return [_request(instance, dataset, manifests) for manifests in shared_runs(waiting, order, dataset.batch)]


def _request(instance: dg.DagsterInstance, dataset: Dataset, manifests: list[DueManifest]) -> dg.RunRequest:
    tags = attempt_tags(dataset, manifests)
    # A run that died before it began its attempt would otherwise hold that attempt's key for ever.
    ended = dg.RunsFilter(
        job_name=job_name(dataset),
        tags={ATTEMPT_TAG: tags[ATTEMPT_TAG]},
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
    )
    alone = len(manifests) == 1
    return dg.RunRequest(
        run_key=f"{tags[ATTEMPT_TAG]}/{instance.get_runs_count(ended)}",
        partition_key=manifests[0].manifest_id if alone else None,
        tags=tags if alone else tags | range_tags(manifests),
    )
