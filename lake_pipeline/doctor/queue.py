"""The queue of arrivals: that S3 may send to it, and that what nobody can read ends among the dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lake_pipeline.discovery.dead_letters import dead_letter_queue
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, doubtful, good
from lake_pipeline.errors import QueueError

_SENDERS = ("s3.amazonaws.com", "sns.amazonaws.com", "events.amazonaws.com", "*")
_SENDING = ("sqs:sendmessage", "sqs:*", "*")
_RECEIVES = range(2, 11)


def look(at: Examined) -> Iterator[Finding]:
    url = at.settings.events_queue or ""
    answer = at.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    attributes = answer["Attributes"]
    yield good("queue", f"{url}, about {attributes.get('ApproximateNumberOfMessages', '?')} messages")
    yield judge_policy(attributes, url)
    redrive = judge_redrive(attributes, url)
    yield redrive
    if redrive.state != "failed" or at.settings.events_dlq:
        yield from _dead_letters(at)


def judge_policy(attributes: Mapping[str, str], url: str) -> Finding:
    """Whether somebody's policy lets S3, SNS or EventBridge send."""
    statements = json.loads(attributes.get("Policy") or "{}").get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        services = statement.get("Principal", {})
        named = _listed(services.get("Service", services.get("AWS")) if isinstance(services, dict) else services)
        sends = any(action.lower() in _SENDING for action in _listed(statement.get("Action")))
        if statement.get("Effect") == "Allow" and sends and any(service in _SENDERS for service in named):
            return good("policy", f"{', '.join(named)} may send")
    return bad(
        "policy",
        "nobody lets S3 send to it",
        f"aws sqs set-queue-attributes --queue-url {url} --attributes Policy=…: docs/aws-events.md, Set up",
    )


def judge_redrive(attributes: Mapping[str, str], url: str) -> Finding:
    """Whether what was received in vain leaves the queue."""
    policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    mend = f"aws sqs set-queue-attributes --queue-url {url} --attributes RedrivePolicy=…: docs/aws-events.md, Set up"
    if "deadLetterTargetArn" not in policy:
        return bad("redrive", "there is no redrive policy, so what nobody can read comes again for ever", mend)
    receives = int(policy.get("maxReceiveCount", 0))
    detail = f"after {receives} receives to {policy['deadLetterTargetArn']}"
    return good("redrive", detail) if receives in _RECEIVES else doubtful("redrive", detail, f"three are usual: {mend}")


def _dead_letters(at: Examined) -> Iterator[Finding]:
    try:
        queue = dead_letter_queue(at.settings)
        depth = queue.depth()
    except QueueError as error:
        yield bad(
            "dead letters", error.detail, "create the queue that the redrive policy names, or set LAKE_EVENTS_DLQ"
        )
        return
    if depth:
        yield doubtful("dead letters", f"about {depth} messages in {queue.url}", "lake dlq list, then lake dlq redrive")
    else:
        yield good("dead letters", f"none in {queue.url}")


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
