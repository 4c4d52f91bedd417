"""The metrics that dashboard and alarms look at, as CloudWatch calls them."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from infra.names import Names

_ENGINE = "glue"
_FIVE_MINUTES = cdk.Duration.minutes(5)


@dataclass(frozen=True)
class Metrics:
    """Those of one environment."""

    names: Names
    namespace: str

    def lake(self, name: str, dataset: str, statistic: str, period: cdk.Duration = _FIVE_MINUTES) -> cloudwatch.Metric:
        """One of docs/aws-alerts.md."""
        return cloudwatch.Metric(
            namespace=self.namespace,
            metric_name=name,
            dimensions_map={"dataset": dataset, "engine": _ENGINE},
            statistic=statistic,
            period=period,
            label=f"{dataset} {name}",
        )

    def stalled(self, dataset: str, period: cdk.Duration) -> cloudwatch.MathExpression:
        """1 where files waited for all of the period and no manifest was committed in it."""
        return cloudwatch.MathExpression(
            expression="IF(waiting > 0 AND FILL(committed, 0) < 1, 1, 0)",
            using_metrics={
                "waiting": self.lake("FilesPending", dataset, "Minimum", period),
                "committed": self.lake("ManifestsCompleted", dataset, "Sum", period),
            },
            period=period,
            label=f"{dataset} stalled",
        )

    def dead_letters(self) -> cloudwatch.Metric:
        """Messages in the dead-letter queue, as SQS counts them."""
        of = {"QueueName": self.names.of("dead-letters")}
        return _aws("SQS", "ApproximateNumberOfMessagesVisible", of, "Maximum", "dead letters")

    def arrivals_age(self) -> cloudwatch.Metric:
        """Seconds that the oldest message of the queue of arrivals waits."""
        of = {"QueueName": self.names.of("arrivals")}
        return _aws("SQS", "ApproximateAgeOfOldestMessage", of, "Maximum", "oldest message")

    def database(self, name: str, statistic: str) -> cloudwatch.Metric:
        """One of RDS's."""
        return _aws("RDS", name, {"DBInstanceIdentifier": self.names.of("database")}, statistic, name)

    def dpu_hours(self) -> cloudwatch.MathExpression:
        """About: executors and the driver, a DPU each with G.1X, times the hours that runs took."""

        def of(name: str, statistic: str, kind: str) -> cloudwatch.Metric:
            return cloudwatch.Metric(
                namespace="Glue",
                metric_name=name,
                dimensions_map={"JobName": self.names.of("convert"), "JobRunId": "ALL", "Type": kind},
                statistic=statistic,
                period=cdk.Duration.hours(1),
            )

        return cloudwatch.MathExpression(
            expression="(executors + 1) * milliseconds / 3600000",
            using_metrics={
                "executors": of("glue.driver.ExecutorAllocationManager.executors.numberAllExecutors", "avg", "gauge"),
                "milliseconds": of("glue.driver.aggregate.elapsedTime", "sum", "count"),
            },
            period=cdk.Duration.hours(1),
            label="DPU-hours, about",
        )

    def charges(self, service: str) -> cloudwatch.Metric:
        """This month's, of the whole account; billing alerts must be on, and us-east-1 has them for every region."""
        return cloudwatch.Metric(
            namespace="AWS/Billing",
            metric_name="EstimatedCharges",
            dimensions_map={"ServiceName": service, "Currency": "USD"},
            statistic="Maximum",
            period=cdk.Duration.hours(6),
            region="us-east-1",
            label=service,
        )


def _aws(service: str, name: str, of: dict[str, str], statistic: str, label: str) -> cloudwatch.Metric:
    """One of a service's own, of five minutes."""
    return cloudwatch.Metric(
        namespace=f"AWS/{service}",
        metric_name=name,
        dimensions_map=of,
        statistic=statistic,
        period=_FIVE_MINUTES,
        label=label,
    )
