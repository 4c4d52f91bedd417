"""Alerts of manifests and runs, with links to where one looks; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from lake_pipeline.ledger.news import ManifestNews

_MOST_TEXT = 2000  # of an error; SNS takes 256 KiB, and a mail's reader less


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at: a line, more lines, and attributes that subscriptions may filter by."""

    subject: str
    lines: tuple[str, ...]
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Links:
    """Where the Dagster UI is, if it is known, and the AWS region of the logs."""

    ui_url: str | None
    region: str | None

    def attempt(self, news: ManifestNews) -> Iterator[str]:
        """Lines that lead to a manifest, from where there is a way to its runs, and to its job's logs."""
        if self.ui_url:
            partition = quote(news.manifest_id, safe="")
            asset = f"{self.ui_url.rstrip('/')}/assets/{news.dataset}/curated"
            yield f"manifest: {asset}?view=partitions&partition={partition}"
        if self.region and (news.engine_run_id or "").startswith("jr_"):
            group = quote(quote("/aws-glue/jobs/error", safe=""), safe="").replace("%", "$")
            yield (
                f"logs: https://{self.region}.console.aws.amazon.com/cloudwatch/home?region={self.region}"
                f"#logsV2:log-groups/log-group/{group}/log-events/{news.engine_run_id}"
            )

    def run(self, run_id: str) -> Iterator[str]:
        """A line that leads to a run of Dagster's."""
        if self.ui_url:
            yield f"run: {self.ui_url.rstrip('/')}/runs/{run_id}"


def alerts_of(news: ManifestNews, max_retries: int, links: Links) -> Iterator[Alert]:
    """Alerts of an attempt that failed, or of what a commit set aside."""
    where = f"{news.dataset} {news.manifest_id}"
    if news.failed:
        left = max_retries - news.failures + 1
        again = f"it is tried again, {left} more" if left > 0 else "it is not tried again; lake requeue does"
        yield _alert("ManifestFailed", news, f"{where} failed", [f"attempt {news.attempt}: {again}"], links)
    if news.completed and (news.quarantined_files or news.counted("rows_quarantined")):
        lines = [
            f"{news.quarantined_files:,} files and {news.counted('rows_quarantined'):,} records were set aside",
            f"to see them: lake quarantine list {news.dataset}",
        ]
        yield _alert("Quarantined", news, f"{where}: quarantine", lines, links)
    if news.completed and news.failed_checks:
        lines = [f"checks.{name}: {rows:,} rows offend" for name, rows in news.failed_checks.items()]
        yield _alert("CheckFailed", news, f"{where}: a check failed", lines, links)


def _alert(kind: str, news: ManifestNews, subject: str, lines: list[str], links: Links) -> Alert:
    reason = news.error_message if kind == "ManifestFailed" else news.quarantined_reason
    if reason and kind != "CheckFailed":
        lines = [*lines, f"reason: {reason[:_MOST_TEXT]}"]
    attributes = {"kind": kind, "dataset": news.dataset, "manifest_id": news.manifest_id}
    return Alert(subject, (*lines, f"landing group: {news.landing_group}", *links.attempt(news)), attributes)


def run_alert(job: str, partition: str | None, run_id: str, reason: str, links: Links) -> Alert:
    """The alert of a run that failed outside of any attempt."""
    lines = (*([f"partition: {partition}"] if partition else []), f"reason: {reason[:_MOST_TEXT]}", *links.run(run_id))
    attributes = {"kind": "RunFailed", "job": job}
    return Alert(f"{job} failed", lines, attributes | ({"manifest_id": partition} if partition else {}))
