"""Cron expressions of five fields, as far as a declaration may say them. Pure."""

from __future__ import annotations

import re

# Minute, hour, day of month, month, day of week (0 and 7 are Sunday).
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_ITEM = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/([1-9]\d?))?")


def check_cron(text: str) -> None:
    """Refuse what is no cron expression.

    Raises:
        ValueError: it is not five fields, or one of them is not what its place allows.
    """
    fields = text.split()
    if len(fields) != len(_BOUNDS):
        raise ValueError(f"{text!r} is not five fields: minute, hour, day of month, month, day of week")
    for part, (least, most) in zip(fields, _BOUNDS, strict=True):
        for item in part.split(","):
            match = _ITEM.fullmatch(item)
            numbers = [int(number) for number in match.groups()[:2] if number] if match else [-1]
            if not all(least <= number <= most for number in numbers) or numbers != sorted(numbers):
                raise ValueError(f"{item!r} is not *, a number, a range or a step from {least} to {most}")
