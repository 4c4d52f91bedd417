"""Alarms, each told to the topic; what each means and what to do is in docs/infrastructure.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns

from infra.context import Context
from infra.metrics import Metrics
from infra.names import Names

_MINUTE = 60
_FREE_STORAGE = 0.15  # of what was allocated; storage grows by itself before, so this says that it did not


@dataclass(frozen=True)
class Alarms:
    """Makes alarms that tell the topic."""

    stack: cdk.Stack
    names: Names
    topic: sns.ITopic

    def add(
        self,
        component: str,
        meaning: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        *,
        below: bool = False,
        silence: bool = False,
        periods: int = 1,
    ) -> None:
        """An alarm over the threshold (or under it) in so many periods, one after the other.

        No data is an alarm only where `silence` is.
        """
        alarm = cloudwatch.Alarm(
            self.stack,
            "".join(part.title() for part in component.replace("_", "-").split("-")) + "Alarm",
            alarm_name=self.names.of(component),
            alarm_description=meaning,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
            if below
            else cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.BREACHING
            if silence
            else cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))


def make_alarms(
    stack: cdk.Stack, names: Names, context: Context, topic: sns.ITopic, metrics: Metrics, datasets: Sequence[str]
) -> None:
    """Four for each dataset, four for all of them."""
    alarms = Alarms(stack, names, topic)
    hours = context.hours_without_success
    for dataset in datasets:
        alarms.add(
            f"failures-{dataset}",
            f"Attempts of {dataset} fail: lake status {dataset}",
            metrics.lake("ManifestsFailed", dataset, "Sum", cdk.Duration.hours(1)),
            context.failures,
        )
        alarms.add(
            f"backlog-{dataset}",
            f"A file of {dataset} waits longer than it should",
            metrics.lake("BacklogAge", dataset, "Maximum", cdk.Duration.minutes(5)),
            context.backlog_minutes * _MINUTE,
            periods=3,
        )
        alarms.add(
            f"duration-{dataset}",
            f"An attempt of {dataset} takes nearly as long as its Glue run may",
            metrics.lake("ManifestSeconds", dataset, "Maximum", cdk.Duration.minutes(5)),
            context.manifest_minutes * _MINUTE,
        )
        alarms.add(
            f"stalled-{dataset}",
            f"Files of {dataset} wait, and nothing was committed for {hours} hours",
            metrics.stalled(dataset, cdk.Duration.hours(hours)),
            1,
        )
    alarms.add(
        "silence",
        "The daemon has told nothing for a quarter of an hour: is it running",
        metrics.lake("FilesPending", datasets[0], "SampleCount"),
        1,
        below=True,
        silence=True,
        periods=3,
    )
    alarms.add(
        "dead-letters",
        "Messages could not be read: lake dlq list",
        metrics.dead_letters(),
        1,
    )
    alarms.add(
        "database-storage",
        "The database's disk is nearly full",
        metrics.database("FreeStorageSpace", "Minimum"),
        _FREE_STORAGE * context.database_storage * 2**30,
        below=True,
        periods=3,
    )
    alarms.add(
        "database-connections",
        "The database has nearly as many connections as it takes",
        metrics.database("DatabaseConnections", "Maximum"),
        context.database_connections,
        periods=3,
    )
