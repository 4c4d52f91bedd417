"""A lake's bucket and queues over the wire, what lands there, and what is left in the queues."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.resources import make_lake
from lake_pipeline.aws_local.server import Operation, environment, serve
from lake_pipeline.discovery.bucket import LakeBucket


@dataclass(frozen=True)
class Arrivals:
    """A bucket, the queue that is told what is created and deleted in it, and its dead letters after three receives.

    Keys are below the lake's root.
    """

    variables: Mapping[str, str]
    s3: Any
    sqs: Any

    @property
    def store(self) -> str:
        return self.variables["LAKE_STORE"]

    @property
    def queue(self) -> str:
        return self.variables["LAKE_EVENTS_QUEUE"]

    @property
    def dead_letters(self) -> str:
        return self.variables["LAKE_EVENTS_DLQ"]

    @property
    def bucket(self) -> LakeBucket:
        return LakeBucket.of(self.store, "the queue")

    def put(self, key: str, body: bytes = b"{}\n") -> str:
        """Land an object; its version."""
        done = self.s3.put_object(Bucket=self.bucket.name, Key=self.bucket.prefix + key, Body=body)
        return str(done.get("VersionId", ""))

    def remove(self, key: str, **more: str) -> None:
        self.s3.delete_object(Bucket=self.bucket.name, Key=self.bucket.prefix + key, **more)

    def send(self, *bodies: str) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            self.sqs.send_message_batch(QueueUrl=self.queue, Entries=entries)

    def take(self, queue: str = "") -> list[str]:
        """The bodies of all messages in the queue, which is empty then."""
        bodies: list[str] = []
        url = queue or self.queue
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [message["Body"] for message in messages]
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def left(self, queue: str = "") -> int:
        """Messages in the queue, those included that a receiver holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)


def arrivals(variables: Mapping[str, str]) -> Arrivals:
    """What `make_lake` made."""
    at = Arrivals(variables, client("s3"), client("sqs"))
    at.take()  # the s3:TestEvent
    return at


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, operations: Mapping[str, Operation]) -> Iterator[Arrivals]:
    """A server of the test's own, which answers these operations as it likes."""
    with serve(operations) as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        yield arrivals(make_lake(f"lake-{uuid.uuid4().hex[:12]}"))
