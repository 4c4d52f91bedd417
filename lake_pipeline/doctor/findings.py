"""What was found of one thing: that it is well, or what is wrong and the command or setting that mends it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Finding:
    """One line: which thing, its state, what was seen, and what mends it where it is not `ok`.

    `warning` is for what the lake works without.
    """

    subject: str
    state: State
    detail: str
    mend: str = ""


def good(subject: str, detail: str) -> Finding:
    return Finding(subject, "ok", detail)


def doubtful(subject: str, detail: str, mend: str) -> Finding:
    return Finding(subject, "warning", detail, mend)


def bad(subject: str, detail: str, mend: str) -> Finding:
    return Finding(subject, "failed", detail, mend)
