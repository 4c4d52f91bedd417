"""Writes what an environment costs a month, the last section of infrastructure.md: python -m docs.make_costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra import costs
from infra.context import TASK_DISK
from infra.costs import CURATED_RATIO, FILE_BYTES, RUN_MB, RUN_MINUTES, Load, declared
from lake_pipeline.costs.prices import price_list

TARGET = Path(__file__).parent / "infrastructure.md"
HEADING = "## What it costs a month\n"
_WEEK, _WEEKS, _HISTORY = 100e9, 52 / 12, 9e12
_TEXT = """\
List prices of {region} in US dollars, before tax and free tiers: those of what stands there and is stored as they were
on AWS's pages in {month:%B %Y}, those that `lake estimate` takes too in {used:%B %Y}. Look them up for your region and
day. All of them are in [prices.yaml](../lake_pipeline/costs/prices.yaml), of which `python -m docs.make_costs` makes
this section. Nothing of it was ever billed. Idle is `dev`, with {datasets} datasets and nothing landing.

{idle}

`prod` as declared ({prod}) adds about {more}: {database} for
the database, {nat} for NAT.

Work is reckoned as [`lake estimate`](costs.md#how-long-it-takes) does. Glue's share was never measured: twice as many
DPU-hours would be no surprise. Manifests are of 4 GiB, files of {file:.0f} MB, curated Parquet is a tenth of its JSON.

{working}

After 60 days archived files are in Intelligent-Tiering. There a GB costs {infrequent} where it was not read for 30
days, {instant} after 90, and with `archive_tiers` {archive} after 180 and {deep} after 270: for those 9 TB
{tiers} a month, in place of {standard}. Where no one reads metrics, leaving `LAKE_METRICS_NAMESPACE` out
saves {metrics} and the alarms of datasets.
"""


def render() -> str:
    """The section."""
    prices, dev, prod = price_list(), declared("dev"), declared("prod")
    month, history = prices.month.prices, Load.of([_HISTORY])
    database, nat = costs.database(prod) - costs.database(dev), costs.nat(prod) - costs.nat(dev)
    tiers = [month.s3_infrequent_gb, month.s3_archive_instant_gb, month.s3_archive_gb, month.s3_deep_archive_gb]
    standby = " with a standby" if prod.database_standby else ""
    return HEADING + _TEXT.format(
        region=prices.month.region,
        month=prices.month.as_of,
        used=prices.as_of,
        datasets=costs.datasets(dev),
        idle=_idle(),
        prod=f"{prod.database_class}{standby}, {prod.database_storage} GB, {prod.nat_gateways} NAT gateways",
        more=_tens(database + nat),
        database=_dollars(database),
        nat=_dollars(nat),
        file=FILE_BYTES / 1e6,
        working=_working(Load.of([_WEEK] * int(_WEEKS) + [_WEEK * (_WEEKS % 1)]), history),
        infrequent=tiers[0],
        instant=tiers[1],
        archive=tiers[2],
        deep=tiers[3],
        tiers=", ".join(_dollars(history.gb * price) for price in tiers),
        standard=_dollars(history.stored),
        metrics=_dollars(costs.metrics(dev)),
    )


def _idle() -> str:
    dev, (use, month) = declared("dev"), costs.prices()
    size = f"{dev.task_cpu / 1024:g} vCPU, {dev.task_memory / 1024:g} GB and {TASK_DISK} GB of disk"
    disk = f"{month.disk_gb_hour} a GB-hour of disk over {costs.FREE_DISK}"
    watched = (
        f"{month.metric:.2f} a metric, {month.alarm_metric:.2f} an alarm's metric, {month.dashboard:g} a dashboard"
    )
    sundries = [
        f"{month.key:g}; {month.secret:.2f} a secret; {month.zone:.2f} a zone; {month.image_gb:.2f} a GB",
        f"{use.sqs:.2f} a million requests; {month.s3_inventory} a million objects",
    ]
    rows = [
        (
            f"Fargate: {costs.SERVICES} tasks of {size}",
            f"{use.vcpu_hour} a vCPU-hour, {use.gb_hour} a GB-hour, {disk}",
            costs.tasks(dev),
        ),
        (f"NAT gateways: {dev.nat_gateways}", f"{month.nat_hour} an hour, {month.nat_gb} a GB", costs.nat(dev)),
        (
            f"RDS: db.{dev.database_class}, {dev.database_storage} GB of gp3",
            f"{month.database_hour[dev.database_class]} an hour, {month.database_gb} a GB",
            costs.database(dev),
        ),
        (
            "balancer",
            f"{month.balancer_hour} an hour, {month.balancer_unit_hour} a capacity unit and hour",
            costs.balancer(),
        ),
        (
            f"CloudWatch: the lake's metrics, {costs.METRICS} a dataset",
            f"{month.metric:.2f} a metric",
            costs.metrics(dev),
        ),
        (
            f"CloudWatch: ECS insights (about {costs.INSIGHTS} metrics), alarms, dashboard",
            watched,
            costs.watching(dev),
        ),
        (
            f"KMS key, {costs.SECRETS} secrets, private DNS, images, queues, Inventory",
            "; ".join(sundries),
            costs.sundries(),
        ),
    ]
    total = f"| **sum** | | **{_tens(sum(cost for *_, cost in rows))}** |"
    return _table(["idle", "price", "a month"], [[what, price, _dollars(cost)] for what, price, cost in rows]) + total


def _working(weekly: Load, history: Load) -> str:
    dev, (use, month), loads = declared("dev"), costs.prices(), (weekly, history)
    glue, fargate = [load.estimate.glue_dollars for load in loads], [load.fargate(dev) for load in loads]
    requests, traces = [load.estimate.s3_dollars for load in loads], [load.run_traces for load in loads]
    raw, curated = [load.stored for load in loads], [load.stored * CURATED_RATIO for load in loads]
    runs = [f"{load.estimate.runs:,} runs, {load.estimate.dpu_seconds / 3600:.0f} DPU-hours: " for load in loads]
    every, once = (sum(costs) for costs in zip(glue, fargate, requests, traces, raw, raw, curated, strict=True))
    moved, watched = ([load.estimate.work.files / 1000 * price for load in loads] for price in _tiering())
    rows = [
        [f"Glue, {use.glue_dpu_hour} a DPU-hour", *map(str.__add__, runs, map(_dollars, glue))],
        [f"Fargate, a task of {RUN_MINUTES} minutes a run", *map(_dollars, fargate)],
        [
            f"requests: {use.s3_write} a 1,000 PUT, COPY, LIST; {use.s3_read} a 1,000 GET, HEAD; queue; catalogue",
            *map(_dollars, requests),
        ],
        [f"S3, raw and archived, {month.s3_gb} a GB", _growing(raw[0]), _dollars(raw[1])],
        ["S3, versions left behind by archiving, for 30 days", _dollars(raw[0]), f"{_dollars(raw[1])}, once"],
        ["S3, curated", _growing(curated[0]), _dollars(curated[1])],
        [f"logs, {month.log_gb:.2f} a GB, and NAT: {RUN_MB} MB of each a run", *map(_dollars, traces)],
        [
            "**beside what is idle**",
            f"**{every:.0f}**",
            f"**{_tens(once)}, then {_tens(raw[1] + curated[1])} a month**",
        ],
        [
            f"from the third month on: to Intelligent-Tiering, {month.s3_transition} a 1,000 objects;"
            f" {month.s3_watched} a 1,000 watched",
            f"{_dollars(moved[0])}; {_dollars(watched[0])}, growing",
            f"{_dollars(moved[1])} once; {_dollars(watched[1])}",
        ],
    ]
    first = f"{_WEEK / 1e9:.0f} GB a week ({weekly.gb:.0f} GB a month), the first month"
    return _table(["", first, f"{_HISTORY / 1e12:.0f} TB once, in that month"], rows).rstrip()


def _tiering() -> tuple[float, float]:
    month = costs.prices()[1]
    return month.s3_transition, month.s3_watched


def _growing(cost: float) -> str:
    return f"{_dollars(cost)}, and {_dollars(cost)} more each month"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def _dollars(cost: float) -> str:
    return f"{cost:.0f}" if cost >= 0.95 else f"{cost:.1f}"


def _tens(cost: float) -> str:
    """The rest is within what is assumed."""
    return f"{round(cost, -1):.0f}"


if __name__ == "__main__":
    page = TARGET.read_text(encoding="utf-8")
    TARGET.write_text(page[: page.index(HEADING)] + render(), encoding="utf-8")
