"""The AWS account: whether there are credentials, whose they are, and whether AWS's clock is this machine's."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from botocore.exceptions import BotoCoreError, ClientError

from lake_pipeline.doctor.clock import judge_clock, now
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, good


def code_of(error: ClientError) -> str:
    """AWS's name of an error."""
    return str(error.response["Error"].get("Code", ""))


def look(at: Examined) -> Iterator[Finding]:
    sts = at.client("sts")
    before = now()
    try:
        answer = sts.get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        mend = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is attached"
        yield bad("credentials", str(error), mend)
        return
    after = now()
    yield good("credentials", f"{answer['Arn']} in {sts.meta.region_name}")
    if date := answer["ResponseMetadata"]["HTTPHeaders"].get("date"):
        yield judge_clock("clock", parsedate_to_datetime(date), before, after)
