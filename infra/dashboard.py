"""One dashboard: what waits, what is done, what fails, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch

from infra.metrics import Metrics
from infra.names import Names

_STATES = ("Pending", "Processing", "Succeeded", "Failed", "Quarantined", "Superseded")
_ROWS = ("RowsWritten", "RowsRescued", "RowsQuarantined", "RowsDropped")
_SERVICES = ("AmazonS3", "AWSGlue", "AmazonRDS", "AmazonECS", "AmazonAthena", "AmazonVPC")
_WIDTH = 8  # three of 24 columns


def make_dashboard(stack: cdk.Stack, names: Names, metrics: Metrics, datasets: Sequence[str]) -> None:
    """Rows of three graphs."""

    def graph(title: str, left: list[cloudwatch.IMetric], region: str | None = None) -> cloudwatch.GraphWidget:
        return cloudwatch.GraphWidget(title=title, left=left, width=_WIDTH, region=region)

    def lake(names_of_metrics: Sequence[str], statistic: str) -> list[cloudwatch.IMetric]:
        return [metrics.lake(name, dataset, statistic) for dataset in datasets for name in names_of_metrics]

    dashboard = cloudwatch.Dashboard(stack, "Dashboard", dashboard_name=names.of("operations"))
    dashboard.add_widgets(
        graph("Backlog: files that wait", lake(["FilesPending"], "Maximum")),
        graph("Backlog: age of the oldest, seconds", lake(["BacklogAge"], "Maximum")),
        graph("Files by state", lake([f"Files{state}" for state in _STATES], "Maximum")),
    )
    dashboard.add_widgets(
        graph("Rows", lake(_ROWS, "Sum")),
        graph("Manifests, seconds", lake(["ManifestSeconds"], "Maximum")),
        graph("Manifests", lake(["ManifestsCompleted", "ManifestsFailed", "Retries"], "Sum")),
    )
    dashboard.add_widgets(
        graph("Glue: DPU-hours", [metrics.dpu_hours()]),
        graph("Dead letters", [metrics.dead_letters()]),
        graph("Arrivals: age of the oldest message, seconds", [metrics.arrivals_age()]),
    )
    dashboard.add_widgets(
        graph("Database: connections", [metrics.database("DatabaseConnections", "Maximum")]),
        graph("Database: free bytes", [metrics.database("FreeStorageSpace", "Minimum")]),
        graph("Database: CPU, per cent", [metrics.database("CPUUtilization", "Average")]),
    )
    dashboard.add_widgets(
        graph("This month's charges, USD", [metrics.charges(service) for service in _SERVICES], region="us-east-1")
    )
