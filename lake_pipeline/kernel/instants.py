"""Timestamps in several notations, for the columns under `transform.utc`.

Three forms of one rule: what may be read (Python), what the fast path recognises (RE2, a part of it), and how DuckDB
reads it. The notations leave no choice of meaning; what is in none of them is rescued.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from lake_pipeline.kernel.exact import Number, is_timestamp

_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = "|".join(_NAMES)
_WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_OFFSET = "[+-](?:0[0-9]|1[0-4])[0-5][0-9]"
_ZONE = f"(?:{_OFFSET}|GMT|UTC|UT)"
# Seconds since 1970 have 9 or 10 digits from 1973 to 2286, milliseconds 12 or 13: their number tells them apart.
_MILLISECONDS = "[1-9][0-9]{11,12}"
# A fraction only as far as a double tells microseconds apart.
_SECONDS = r"[1-9][0-9]{8,9}|(?:[1-9][0-9]{8}|[1-7][0-9]{9})\.[0-9]{1,6}"
_EPOCH = f"(?:{_MILLISECONDS}|{_SECONDS})"
_RFC_2822 = re.compile(
    rf"(?:{_WEEKDAY}, )?(?P<day>[0-9]{{1,2}}) (?P<month>{_MONTH}) (?P<year>[0-9]{{4}}) {_CLOCK}(?::[0-5][0-9])? {_ZONE}"
)
_TWITTER = re.compile(
    rf"{_WEEKDAY} (?P<month>{_MONTH}) (?P<day>[0-9]{{2}}) {_CLOCK}:[0-5][0-9] {_OFFSET} (?P<year>[0-9]{{4}})"
)
_FORMATS = ["%d %b %Y %H:%M:%S %z", "%d %b %Y %H:%M %z", "%b %d %H:%M:%S %z %Y"]


def is_instant(value: Any) -> bool:
    """Whether a JSON value, numbers as `Number`, is a timestamp in one of the notations."""
    if not isinstance(value, str):
        return False
    if re.fullmatch(_EPOCH, value):
        return True
    return not isinstance(value, Number) and (is_timestamp(value) or _exists(value))


def _exists(text: str) -> bool:
    match = _RFC_2822.fullmatch(text) or _TWITTER.fullmatch(text)
    if not match:
        return False
    try:
        day = datetime(int(match["year"]), _NAMES.index(match["month"]) + 1, int(match["day"]))  # noqa: DTZ001
    except ValueError:
        return False
    return "0001-01-02" <= day.isoformat()[:10] <= "9999-12-30"  # a zone must not push it out of the calendar


def _days(first: str, between: str) -> str:
    """Days that exist in every year, with the month on the stated side; others are left to `is_instant`."""
    long = "Jan|Mar|May|Jul|Aug|Oct|Dec"
    parts = [(f"{first}[1-9]|1[0-9]|2[0-8]", _MONTH), ("29|30", _MONTH.replace("Feb|", "")), ("31", long)]
    return "|".join(between.format(day=f"(?:{day})", month=f"(?:{month})") for day, month in parts)


# JSON values that DuckDB's expression reads; ISO 8601 is shape.py's.
PATTERN = (
    rf'{_EPOCH}\b|"{_EPOCH}"'
    rf'|"(?:{_WEEKDAY}, )?(?:{_days("0?", "{day} {month}")}) [12][0-9]{{3}} {_CLOCK}(?::[0-5][0-9])? {_ZONE}"'
    rf'|"{_WEEKDAY} (?:{_days("0", "{month} {day}")}) {_CLOCK}:[0-5][0-9] {_OFFSET} [12][0-9]{{3}}"'
)


def instant_sql(text: str) -> str:
    """The DuckDB expression of the instant that a text expression names; the connection's TimeZone must be UTC."""
    named = f"regexp_replace({text}, '^[A-Z][a-z]{{2}},? ', '')"
    offset = f"regexp_replace({named}, ' (GMT|UTC|UT)$', ' +0000')"
    return (
        f"CASE WHEN regexp_full_match({text}, '{_MILLISECONDS}')"
        f" THEN CAST(make_timestamp(CAST({text} AS BIGINT) * 1000) AS TIMESTAMPTZ)"
        f" WHEN regexp_full_match({text}, '{_SECONDS}')"
        f" THEN CAST(make_timestamp(CAST(CAST({text} AS DECIMAL(38, 6)) * 1000000 AS BIGINT)) AS TIMESTAMPTZ)"
        f" WHEN regexp_matches({text}, '[A-Z][a-z]{{2}} ') THEN strptime({offset}, {_FORMATS})"
        f" ELSE CAST({text} AS TIMESTAMPTZ) END"
    )
