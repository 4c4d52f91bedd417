"""An SQS standard queue, in the few words that the events' receivers and `lake dlq` need."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lake_pipeline.aws import client
from lake_pipeline.errors import QueueError
from lake_pipeline.store import batched

# The most that one call of SQS takes or gives.
BATCH = 10
# A call that fails three times belongs to the circuit breaker: a sensor's tick has a minute for everything.
_ATTEMPTS = 3


@dataclass(frozen=True)
class Message:
    """A message that was received and is hidden from other receivers for a while; `receipt` is the right to delete it.

    `receives` counts how often it was received, this time included.
    """

    id: str
    body: str
    receipt: str
    receives: int
    sent_at: datetime
    attributes: dict[str, Any] = field(default_factory=dict)


class Queue:
    """One queue; good for many threads.

    Raises (every method):
        QueueError: SQS refused or could not be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._sqs = client("sqs", attempts=_ATTEMPTS)

    def receive(self, *, wait: int, visibility: int, most: int = BATCH) -> list[Message]:
        """Messages, `most` or 10 at most, after up to `wait` seconds (20 at most) of waiting for the first.

        They come to other receivers again after `visibility` seconds, unless they are deleted.
        """
        with self._calling():
            answer = self._sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(most, BATCH),
                WaitTimeSeconds=wait,
                VisibilityTimeout=visibility,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        return [self._message(received) for received in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Message]) -> int:
        """Delete messages; how many SQS would not delete, which come again."""
        refused = 0
        for batch in batched(messages, BATCH):
            entries = [{"Id": str(n), "ReceiptHandle": message.receipt} for n, message in enumerate(batch)]
            with self._calling():
                answer = self._sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
            refused += len(answer.get("Failed", []))
        return refused

    def release(self, messages: Sequence[Message]) -> None:
        """Let other receivers have the messages at once."""
        for batch in batched(messages, BATCH):
            entries = [
                {"Id": str(n), "ReceiptHandle": message.receipt, "VisibilityTimeout": 0}
                for n, message in enumerate(batch)
            ]
            with self._calling():
                self._sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)

    def depth(self) -> int:
        """Messages in the queue, about."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        with self._calling():
            found = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def send(self, message: Message) -> None:
        """Send a copy of a message."""
        with self._calling():
            self._sqs.send_message(QueueUrl=self.url, MessageBody=message.body, MessageAttributes=message.attributes)

    def dead_letters(self) -> Queue | None:
        """The queue to which SQS moves what was received too often; None where there is none."""
        with self._calling():
            answer = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["RedrivePolicy"])
            policy = json.loads(answer.get("Attributes", {}).get("RedrivePolicy", "{}"))
            if "deadLetterTargetArn" not in policy:
                return None
            *_, account, name = policy["deadLetterTargetArn"].split(":")
            return Queue(self._sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"])

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise QueueError(f"{self.url}: {error}") from error

    @staticmethod
    def _message(received: dict[str, Any]) -> Message:
        system = received["Attributes"]
        # A copy is sent with what its sender set; SQS wants no more of an attribute than its type and value.
        attributes = {
            name: {part: value[part] for part in ("DataType", "StringValue", "BinaryValue") if part in value}
            for name, value in received.get("MessageAttributes", {}).items()
        }
        return Message(
            id=received["MessageId"],
            body=received["Body"],
            receipt=received["ReceiptHandle"],
            receives=int(system["ApproximateReceiveCount"]),
            sent_at=datetime.fromtimestamp(int(system["SentTimestamp"]) / 1000, UTC),
            attributes=attributes,
        )
