"""The variables with which the lake meets its resources; the tasks are given them, and the stack's outputs say them."""

from __future__ import annotations

import re

from infra.folders import INVENTORY, INVENTORY_ID
from infra.policies import Places


def variables(at: Places) -> dict[str, str]:
    """LAKE_* of everything but the database, whose password is no output."""
    found = {
        "LAKE_STORE": f"s3://{at.bucket}",
        "LAKE_ENGINE": "glue",
        "LAKE_CATALOG": "glue",
        "LAKE_GLUE_JOB": at.glue_job,
        "LAKE_GLUE_DATABASE": at.glue_database,
        "LAKE_ATHENA_WORKGROUP": at.workgroup,
        "LAKE_EVENTS_QUEUE": _queue(at, at.queue),
        "LAKE_EVENTS_DLQ": _queue(at, at.dead_letters),
        "LAKE_INVENTORY": f"s3://{at.reports_bucket}/{INVENTORY}{at.bucket}/{INVENTORY_ID}/",
        "LAKE_ALERTS_TOPIC": at.arn("sns", at.topic),
        "LAKE_EVENT_BUS": at.bus,
        "LAKE_METRICS_NAMESPACE": at.namespace,
    }
    return found | {"AWS_DEFAULT_REGION": at.region}


def output_of(variable: str) -> str:
    """The output that says a variable, such as LakeGlueJob: outputs take letters and digits only."""
    return variable.title().replace("_", "")


def variable_of(output: str) -> str:
    """The variable that an output says."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", output).upper()


def _queue(at: Places, name: str) -> str:
    return f"https://sqs.{at.region}.amazonaws.com/{at.account}/{name}"
