"""Every check in turn, each bounded in time and none stopped by another's failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad
from lake_pipeline.errors import LakeError

Look = Callable[[Examined], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """Looks at one area; `mend` is said where it cannot be looked at."""

    area: str
    look: Look
    mend: str


@dataclass
class _Outcome:
    findings: list[Finding] = field(default_factory=list)
    error: BaseException | None = None


def run_checks(checks: Iterable[Check], examined: Examined, seconds: float) -> Iterator[tuple[str, Finding]]:
    """Area and finding of every check, as they are found; a check that takes longer than `seconds` has failed."""
    for check in checks:
        outcome = _Outcome()
        # A daemon, for what hangs may hang for ever, and must not keep the process.
        thread = threading.Thread(target=_look, args=(check, examined, outcome), name=check.area, daemon=True)
        thread.start()
        thread.join(seconds)
        hung, found = thread.is_alive(), list(outcome.findings)
        yield from ((check.area, finding) for finding in found)
        if hung:
            yield check.area, bad(check.area, f"no answer within {seconds:g} s", check.mend)
        elif outcome.error is not None:
            yield check.area, bad(check.area, _text(outcome.error), check.mend)


def _look(check: Check, examined: Examined, outcome: _Outcome) -> None:
    try:
        for finding in check.look(examined):
            outcome.findings.append(finding)
    except Exception as error:
        outcome.error = error


def _text(error: BaseException) -> str:
    if isinstance(error, LakeError | BotoCoreError | ClientError):
        return str(error)
    return f"{type(error).__name__}: {error}"
