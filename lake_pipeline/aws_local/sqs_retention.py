"""Messages that are too old, found at the price of one look at each.

moto 5 counts the whole queue for each message that it hands out, so that one of thousands hardly moves.
"""

from __future__ import annotations

import time
from typing import Any

from moto.sqs.models import SQSBackend


def retain_cheaply() -> None:
    """Have moto ask for a queue's retention period without counting the queue. May be repeated."""
    SQSBackend.is_message_valid_based_on_retention_period = _is_retained  # type: ignore[method-assign, assignment]


def _is_retained(backend: Any, queue_name: str, message: Any) -> bool:
    period: float = backend.get_queue(queue_name).message_retention_period
    return bool(message.sent_timestamp / 1000 + period > time.time())
