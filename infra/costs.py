"""What an environment costs a month: what stands there, and what converting adds; docs/make_costs.py writes it down.

Prices are those of prices.yaml, sizes those of cdk.json; what is neither is assumed here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from infra.context import ROOT, TASK_DISK, Context, context_of
from lake_pipeline.costs.estimate import Estimate, Waiting, estimate, work_of
from lake_pipeline.costs.machine import Machine
from lake_pipeline.costs.prices import MonthPrices, Prices, price_list
from lake_pipeline.dataset import Batch
from lake_pipeline.declarations import load_datasets

# Dagster's services; metrics that the lake puts for a dataset; secrets.
SERVICES, METRICS, SECRETS = 3, 22, 2
# What the alarms of a dataset look at, and those of all.
ALARM_METRICS, COMMON_ALARM_METRICS = 5, 4
# Assumed of what stands there: metrics of ECS insights, the balancer's capacity units, images, requests of the queue.
INSIGHTS, IMAGES_GB = 50, 10
_UNITS, _POLLS = 0.1, 9_000 * 30
# Assumed of what is converted: a run's time on Fargate, and its MB of logs, and past the NAT gateway.
RUN_MINUTES, RUN_MB = 5, 5
FILE_BYTES, CURATED_RATIO = 10_000_000, 0.1
FREE_DISK, HOURS = 20, 730


def prices() -> tuple[Prices, MonthPrices]:
    """What is paid by use, and what by the month, in the region that there are both of."""
    listed = price_list()
    return listed.of(listed.month.region), listed.month.prices


def declared(env: str) -> Context:
    """An environment of cdk.json."""
    environments = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]["environments"]
    return context_of(environments, env)


def datasets(context: Context) -> int:
    """How many an environment has."""
    return len(load_datasets(ROOT / context.datasets))


def tasks(context: Context) -> float:
    """Dagster's services, a month."""
    return SERVICES * HOURS * task_hour(context)


def task_hour(context: Context) -> float:
    """One Fargate task, an hour."""
    use, month = prices()
    return (
        context.task_cpu / 1024 * use.vcpu_hour
        + context.task_memory / 1024 * use.gb_hour
        + (TASK_DISK - FREE_DISK) * month.disk_gb_hour
    )


def nat(context: Context) -> float:
    """The NAT gateways, a month, without what goes through them."""
    return context.nat_gateways * HOURS * prices()[1].nat_hour


def database(context: Context) -> float:
    """RDS, a month; a standby costs the same again."""
    month = prices()[1]
    hour = month.database_hour[context.database_class]
    return (1 + context.database_standby) * (HOURS * hour + context.database_storage * month.database_gb)


def balancer() -> float:
    """The load balancer, a month, with hardly a request."""
    month = prices()[1]
    return HOURS * (month.balancer_hour + _UNITS * month.balancer_unit_hour)


def metrics(context: Context) -> float:
    """The lake's own metrics, a month."""
    return METRICS * datasets(context) * prices()[1].metric


def watching(context: Context) -> float:
    """ECS insights, alarms and the dashboard, a month."""
    month = prices()[1]
    looked_at = ALARM_METRICS * datasets(context) + COMMON_ALARM_METRICS
    return INSIGHTS * month.metric + looked_at * month.alarm_metric + month.dashboard


def sundries() -> float:
    """A key, secrets, a zone, images and the asking of empty queues, a month."""
    use, month = prices()
    return month.key + SECRETS * month.secret + month.zone + IMAGES_GB * month.image_gb + _POLLS / 1e6 * use.sqs


@dataclass(frozen=True)
class Load:
    """What lands in a month, in decimal GB, and what converting it takes."""

    gb: float
    estimate: Estimate

    @classmethod
    def of(cls, groups: Sequence[float]) -> Load:
        """Landing groups of so many bytes, converted on Glue."""
        work = work_of([Waiting(round(size / FILE_BYTES), round(size)) for size in groups], Batch())
        return cls(sum(groups) / 1e9, estimate("glue", work, Batch(), prices()[0], Machine(1), by_events=True))

    def fargate(self, context: Context) -> float:
        """The tasks of runs, which wait for Glue."""
        return self.estimate.runs * RUN_MINUTES / 60 * task_hour(context)

    @property
    def stored(self) -> float:
        """A month of the raw files in S3 Standard."""
        return self.gb * prices()[1].s3_gb

    @property
    def run_traces(self) -> float:
        """What runs log, and send past the NAT gateway."""
        month = prices()[1]
        return self.estimate.runs * RUN_MB / 1e3 * (month.log_gb + month.nat_gb)
