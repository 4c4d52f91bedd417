"""Which checks a lake has, by its settings."""

from __future__ import annotations

from lake_pipeline.doctor import (
    account,
    bucket,
    catalogue,
    database,
    declared,
    glue_job,
    machine,
    notices,
    queue,
    store,
)
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.running import Check

_ALLOW = "allow the role the call that was refused: docs/operations.md, lake doctor"


def checks_of(at: Examined) -> list[Check]:
    """What applies; on the embedded default nothing of AWS does."""
    settings = at.settings
    on_aws = at.on_s3 or settings.engine == "glue" or settings.events_queue or settings.alerts_topic
    found = [
        Check("machine", machine.look, "see the message"),
        Check("datasets", declared.look, "lake datasets validate"),
        Check("database", database.look, "start the server, or correct LAKE_DATABASE_URL"),
    ]
    if on_aws:
        found.append(Check("aws", account.look, "set AWS_DEFAULT_REGION, and AWS_PROFILE or a role"))
    found.append(Check("store", store.look, "correct LAKE_STORE, or the role's policy: docs/aws-s3.md"))
    if at.on_s3:
        found.append(Check("bucket", bucket.look, _ALLOW))
    if settings.events_queue is not None:
        found.append(Check("queue", queue.look, "correct LAKE_EVENTS_QUEUE, or the role's policy: docs/aws-events.md"))
    if settings.engine == "glue":
        found.append(Check("glue", glue_job.look, _ALLOW))
    embedded = settings.catalog_kind == "duckdb"
    found.append(Check("catalogue", catalogue.look_embedded if embedded else catalogue.look, _ALLOW))
    if on_aws:
        found.append(Check("notices", notices.look, _ALLOW))
    return found
