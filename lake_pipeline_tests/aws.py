"""AWS of a test's own: moto's server over the wire, with a bucket that tells a queue, and what tests look for there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.server import REGION, Operation, environment, serve

BUCKET = "lake"
EVENT_TYPES = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


@dataclass(frozen=True)
class Arrivals:
    """A bucket, its queue, and the dead-letter queue after three receives."""

    endpoint: str
    s3: Any
    sqs: Any
    queue: str
    dead_letters: str

    def put(self, key: str, body: bytes = b"{}\n") -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def take(self, queue: str = "") -> list[str]:
        """The bodies of all messages in the queue, which is empty then."""
        bodies: list[str] = []
        url = queue or self.queue
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [message["Body"] for message in messages]
            entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
            self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        return bodies

    def left(self, queue: str = "") -> int:
        """Messages in the queue, those included that a receiver holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)


@contextmanager
def arrivals(
    monkeypatch: pytest.MonkeyPatch, operations: Mapping[str, Operation] | None = None, *, versioned: bool = False
) -> Iterator[Arrivals]:
    """A server with the bucket `lake`, which tells the queue `arrivals` of what is created and deleted."""
    with serve(operations) as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        s3, sqs = client("s3"), client("sqs")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        if versioned:
            s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        dead = sqs.create_queue(QueueName="arrivals-dead")["QueueUrl"]
        policy = {"deadLetterTargetArn": arn_of(sqs, dead), "maxReceiveCount": 3}
        queue = sqs.create_queue(QueueName="arrivals", Attributes={"RedrivePolicy": json.dumps(policy)})["QueueUrl"]
        s3.put_bucket_notification_configuration(
            Bucket=BUCKET,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": arn_of(sqs, queue), "Events": EVENT_TYPES}]
            },
        )
        at = Arrivals(url, s3, sqs, queue, dead)
        at.take()  # the s3:TestEvent
        yield at


def arn_of(sqs: Any, queue: str) -> str:
    arn: str = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn
