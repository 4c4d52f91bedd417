"""What sends: each service behind its circuit breaker, so that one that is away costs nobody time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lake_pipeline.errors import NoticeFailed
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.notices.alerts import Alert
from lake_pipeline.notices.events import entry
from lake_pipeline.notices.metrics import Datum
from lake_pipeline.store import batched

# Limits of one call: PutEvents, PutMetricData; the length of a subject.
_EVENTS, _METRICS, _SUBJECT = 10, 1000, 100
# Who sends has something better to do; what fails is sent with the next pass.
_ATTEMPTS = 2
_CLIENTS = {"eventbridge": "events"}


@contextmanager
def _sending(ledger: Ledger, service: str) -> Iterator[Any]:
    """The service's client, behind its breaker.

    Raises:
        NoticeFailed: it refused, or could not be reached.
        CircuitOpen: it has failed so often that it is left alone.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # boto3 takes a while to import

    from lake_pipeline.aws import client

    with ledger.breaker(service):
        try:
            yield client(_CLIENTS.get(service, service), attempts=_ATTEMPTS)
        except (BotoCoreError, ClientError) as error:
            raise NoticeFailed(f"{service}: {error}") from error


def send_alerts(ledger: Ledger, topic: str, alerts: list[Alert]) -> None:
    """Publish alerts on an SNS topic."""
    if not alerts:
        return
    with _sending(ledger, "sns") as sns:
        for alert in alerts:
            sns.publish(
                TopicArn=topic,
                # A subject is one line of ASCII.
                Subject=alert.subject.encode("ascii", "replace").decode()[:_SUBJECT],
                Message="\n".join([alert.subject, *alert.lines]),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in alert.attributes.items()
                },
            )


def send_events(ledger: Ledger, bus: str, details: list[Any]) -> None:
    """Put events on an EventBridge bus."""
    if not details:
        return
    with _sending(ledger, "eventbridge") as events:
        for page in batched([entry(bus, detail) for detail in details], _EVENTS):
            answer = events.put_events(Entries=page)
            if answer["FailedEntryCount"]:
                refused = next(item for item in answer["Entries"] if item.get("ErrorCode"))
                raise NoticeFailed(f"eventbridge: {refused['ErrorCode']}: {refused.get('ErrorMessage', '')}")


def send_metrics(ledger: Ledger, namespace: str, data: list[Datum]) -> None:
    """Put values into a CloudWatch namespace."""
    if not data:
        return
    with _sending(ledger, "cloudwatch") as cloudwatch:
        for page in batched(data, _METRICS):
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=page)
