"""How long to wait before the next try (pure)."""

from __future__ import annotations

import random
from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds, for ever: about `first`, doubled each time up to `longest`; those who wait together come apart.

    Each is drawn from the upper half of its length. (Equal jitter, as in AWS's Builders' Library.)
    """
    length = first
    while True:
        yield length * random.uniform(0.5, 1)
        length = min(2 * length, longest)
