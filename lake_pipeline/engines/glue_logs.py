"""A Glue run's log in CloudWatch: where a person reads it, and its last lines."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

_LINES = 25
_LINE = 300


def run_url(region: str, job: str, run_id: str) -> str:
    """The run's page in the console of AWS."""
    console = f"https://{region}.console.aws.amazon.com"
    return f"{console}/gluestudio/home?region={region}#/job/{quote(job)}/run/{quote(run_id)}"


def log_url(region: str, group: str, stream: str) -> str:
    """A log stream's page in the console of AWS, which wants its names quoted twice, `$` in place of `%`."""
    names = [quote(quote(name, safe=""), safe="").replace("%", "$") for name in (group, stream)]
    console = f"https://{region}.console.aws.amazon.com"
    return f"{console}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{names[0]}/log-events/{names[1]}"


def tail(logs: Any, group: str, run_id: str) -> str:
    """The last lines of a run's error log, or of its output; where neither can be read, why. For an error's text."""
    reason = "it is empty"
    for kind in ("error", "output"):
        try:
            events = logs.get_log_events(
                logGroupName=f"{group}/{kind}", logStreamName=run_id, limit=_LINES, startFromHead=False
            )["events"]
        except (ClientError, BotoCoreError) as error:
            reason = str(error)
            continue
        if events:
            lines = [event["message"].rstrip()[:_LINE] for event in events]
            return "\n".join([f"the last lines of {group}/{kind}:", *lines])
    return f"nothing of its log in {group}: {reason}"
