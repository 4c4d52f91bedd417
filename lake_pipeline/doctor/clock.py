"""Clocks: this machine's against another's."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from lake_pipeline.doctor.findings import Finding, bad, doubtful, good
from lake_pipeline.reports import duration_text

# AWS refuses requests that were signed more than fifteen minutes ago or ahead (RequestTimeTooSkewed).
_TOO_FAR = timedelta(minutes=5)
_FAR = timedelta(seconds=30)
_MEND = "set this machine's clock: chronyc makestep, or timedatectl set-ntp true"


def now() -> datetime:
    """What this machine's clock says."""
    return datetime.fromtimestamp(time.time(), UTC)


def judge_clock(subject: str, theirs: datetime, before: datetime, after: datetime) -> Finding:
    """How far this clock is from another, whose time was asked for between `before` and `after` by this one."""
    away = max(before - theirs, theirs - after, timedelta())
    if away > _TOO_FAR:
        return bad(subject, f"{duration_text(away)} apart", _MEND)
    if away > _FAR:
        return doubtful(subject, f"{duration_text(away)} apart", _MEND)
    return good(subject, f"{away.total_seconds():.1f} s apart")
