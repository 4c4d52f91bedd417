"""The sensor of the events queue: in its place no dataset is listed every half minute."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
import dagster as dg

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.discovery.events import Drained, Receiver
from lake_pipeline.discovery.queue import Queue
from lake_pipeline.errors import CircuitOpen
from lake_pipeline.guard import check_ledger

# A tick is cut off after 60 s, and what was received last has to be registered within it.
DRAINING_SECONDS = 35


def events_sensor(datasets: list[Dataset], queue: str) -> dg.SensorDefinition:
    """S3's events → ledger, for all datasets."""

    @dg.sensor(
        name="s3_events",
        description=f"Registers the raw files that S3 tells of through {queue}.",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def events(lake: LakeResource) -> dg.SkipReason:
        at = lake.lake
        check_ledger(at, datasets)
        bucket = LakeBucket.of(at.settings.store_url, "the queue")
        receiver = Receiver(Queue(queue), bucket, tuple(datasets), at.store, at.ledger)
        try:
            return dg.SkipReason(told(receiver.drain(seconds=DRAINING_SECONDS)))
        except CircuitOpen as error:
            return dg.SkipReason(str(error))

    return events


def told(found: Drained) -> str:
    """What a tick says of itself."""
    parts = [f"{found.new:,} new of {found.messages:,} messages"]
    parts += [
        f"{count:,} {what}"
        for count, what in (
            (found.deleted, "deleted before they were converted"),
            (found.foreign, "of another lake, left in the queue"),
            (found.poison, "that are no events, left in the queue"),
            (found.failed, "of objects that could not be looked at, left in the queue"),
        )
        if count
    ]
    return "; ".join(parts)
