"""Who is told: the topic of alerts and the bus of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from botocore.exceptions import ClientError

from lake_pipeline.doctor.account import code_of
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, doubtful, good

_SET_UP = "docs/aws-alerts.md"


def look(at: Examined) -> Iterator[Finding]:
    yield _topic(at, at.settings.alerts_topic)
    if at.settings.event_bus is not None:
        yield _bus(at, at.settings.event_bus)


def _topic(at: Examined, topic: str | None) -> Finding:
    if topic is None:
        return doubtful("topic", "LAKE_ALERTS_TOPIC is not set, so nobody is alerted", f"set up a topic: {_SET_UP}")
    try:
        return judge_topic(topic, at.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"])
    except ClientError as error:
        if code_of(error) not in ("NotFound", "NotFoundException"):
            raise
        return bad("topic", f"there is no {topic}", f"aws sns create-topic …: {_SET_UP}; or set LAKE_ALERTS_TOPIC")


def judge_topic(topic: str, attributes: Mapping[str, str]) -> Finding:
    """Whether somebody reads it."""
    confirmed = int(attributes.get("SubscriptionsConfirmed", 0))
    if confirmed:
        return good("topic", f"{topic}, {confirmed} subscribed")
    mend = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint …, then confirm the mail"
    return doubtful("topic", f"nobody has subscribed to {topic}", mend)


def _bus(at: Examined, bus: str) -> Finding:
    try:
        at.client("events").describe_event_bus(Name=bus)
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        return bad(
            "event bus", f"there is no {bus}", f"aws events create-event-bus --name {bus}, or set LAKE_EVENT_BUS"
        )
    return good("event bus", bus)
