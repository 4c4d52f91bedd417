"""Telling what the ledger has not told yet. Whatever fails here fails nothing else, and is tried with the next pass.

What was told is marked after it was sent: killed in between, it is sent again. So everything is told once at least.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import LakeError, LedgerUnreachable
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import FileTotals
from lake_pipeline.ledger.news import ManifestNews
from lake_pipeline.notices.alerts import Alert, Links, alerts_of
from lake_pipeline.notices.events import details_of
from lake_pipeline.notices.metrics import Datum, counts_of, datum, gauges_of
from lake_pipeline.notices.senders import send_alerts, send_events, send_metrics
from lake_pipeline.settings import Settings

_log = logging.getLogger(__name__)
_AT_ONCE = 100
# The same failure of the same run is told once in this time.
_WINDOW = timedelta(hours=1)


def tell(lake: Lake, dataset: Dataset) -> None:
    """Tell what became of a dataset's manifests since the last time; raises no Exception."""
    settings = lake.settings
    listened = settings.alerts_topic or settings.event_bus or settings.metrics_namespace
    try:
        with lake.ledger.notices_lock(dataset.name) as mine:
            # Another is at it, and will find what there is.
            while mine and (news := lake.ledger.untold(dataset.name, _AT_ONCE)):
                if listened:
                    _send(lake, dataset, news)
                lake.ledger.record_told(dataset.name, news)
    except Exception as error:  # whatever it is, the rows are worth more
        _log.warning("%s: not told yet: %s", dataset.name, error)


def _send(lake: Lake, dataset: Dataset, news: list[ManifestNews]) -> None:
    settings, retries = lake.settings, dataset.batch.max_retries
    if settings.event_bus:
        details = [detail for item in news for detail in details_of(item, dataset, settings.store_url, settings.engine)]
        send_events(lake.ledger, settings.event_bus, details)
    if settings.alerts_topic:
        alerts = [alert for item in news for alert in alerts_of(item, retries, links(settings))]
        send_alerts(lake.ledger, settings.alerts_topic, alerts)
    if settings.metrics_namespace:
        data = [value for item in news for value in counts_of(item, retries, settings.engine)]
        _try_metrics(lake, data)


def tell_alert(lake: Lake, key: str, alert: Alert) -> None:
    """Send an alert, unless one of the same key was sent in the last hour; raises nothing of the lake's or of AWS's."""
    if not lake.settings.alerts_topic:
        return
    try:
        if _claim(lake, key):
            try:
                send_alerts(lake.ledger, lake.settings.alerts_topic, [alert])
            except LakeError:
                lake.ledger.release_alert(key)
                raise
    except LakeError as error:
        _log.warning("not told: %s (%s)", alert.subject, error)


def _claim(lake: Lake, key: str) -> bool:
    """Whether the alert is this process's to send."""
    try:
        return lake.ledger.claim_alert(key, _WINDOW)
    except LedgerUnreachable:
        # It may be claimed, by us or before by another: to tell twice is better than never.
        lake.ledger.release_alert(key)
        return lake.ledger.claim_alert(key, _WINDOW)


def put_gauges(lake: Lake) -> int:
    """Put how every dataset stands, and how many dead letters there are; the number of values.

    Raises:
        LakeError: CloudWatch refused, or is left alone.
    """
    settings, now = lake.settings, lake.ledger.now()
    if not settings.metrics_namespace:
        return 0
    totals: dict[str, dict[str, FileTotals]] = {}
    for total in lake.ledger.file_totals():
        totals.setdefault(total.dataset, {})[total.status] = total
    data = [
        value
        for name in lake.datasets
        for value in gauges_of(name, totals.get(name, {}), lake.ledger.backlog_summary(name), settings.engine, now)
    ]
    data += _dead_letters(lake)
    send_metrics(lake.ledger, settings.metrics_namespace, data)
    return len(data)


def links(settings: Settings) -> Links:
    """Where alerts lead to; the topic's ARN holds the region."""
    region = settings.alerts_topic.split(":")[3] if settings.alerts_topic else None
    return Links(settings.ui_url, region)


def _dead_letters(lake: Lake) -> list[Datum]:
    if lake.settings.events_queue is None and lake.settings.events_dlq is None:
        return []
    from lake_pipeline.discovery.dead_letters import dead_letter_queue  # boto3 takes a while to import

    try:
        with lake.ledger.breaker("sqs"):
            depth = dead_letter_queue(lake.settings).depth()
    except LakeError as error:
        _log.warning("the dead letters were not counted: %s", error)
        return []
    return [datum("DeadLetters", depth, "Count", lake.settings.engine)]


def _try_metrics(lake: Lake, data: list[Datum]) -> None:
    """Counts that could not be put are lost: to tell alerts and events twice for them would be worse."""
    try:
        send_metrics(lake.ledger, lake.settings.metrics_namespace or "", data)
    except LakeError as error:
        _log.warning("metrics were not put: %s", error)
