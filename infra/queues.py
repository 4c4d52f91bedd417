"""The queue that S3 tells of what lands, and the one that takes what was received too often."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs

from infra.names import Names

# AWS asks for six times the longest that a reader works on what it received; a sensor's tick ends after 60 s.
VISIBILITY_SECONDS = 360
MOST_RECEIVES = 3


@dataclass(frozen=True)
class Queues:
    """Both queues."""

    arrivals: sqs.Queue
    dead_letters: sqs.Queue


def make_queues(stack: cdk.Stack, names: Names) -> Queues:
    """Standard queues, for S3 sends to no others."""
    dead_letters = sqs.Queue(
        stack,
        "DeadLetters",
        queue_name=names.of("dead-letters"),
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )
    arrivals = sqs.Queue(
        stack,
        "Arrivals",
        queue_name=names.of("arrivals"),
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        visibility_timeout=cdk.Duration.seconds(VISIBILITY_SECONDS),
        receive_message_wait_time=cdk.Duration.seconds(20),
        retention_period=cdk.Duration.days(4),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=MOST_RECEIVES),
    )
    return Queues(arrivals, dead_letters)
