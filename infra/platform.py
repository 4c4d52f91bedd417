"""The stack that can be thrown away and made again: everything that works on the data, and holds none."""

from __future__ import annotations

from collections.abc import Sequence

import aws_cdk as cdk

from infra.alarms import make_alarms
from infra.catalogue import make_catalogue, make_crawler
from infra.context import Context
from infra.converting import make_job
from infra.dashboard import make_dashboard
from infra.data import Data
from infra.folders import INVENTORY, Folders
from infra.metrics import Metrics
from infra.names import Names
from infra.notices import make_notices
from infra.orchestration import make_dagster
from infra.policies import Places
from infra.roles import make_roles
from infra.variables import output_of, variables


def make_platform(
    stack: cdk.Stack, names: Names, context: Context, folders: Folders, data: Data, datasets: Sequence[str]
) -> None:
    """Roles, catalogue, Glue job, Dagster, notices, alarms; and as outputs what the lake's environment is made of."""
    notices = make_notices(stack, names, context)
    at = places(names, context, folders, cdk.Aws.ACCOUNT_ID, topic_key=notices.key.key_arn)
    roles = make_roles(stack, names, context, at)
    make_catalogue(stack, names, context, at.bucket)
    if context.crawler:
        make_crawler(stack, names, at)
    make_job(stack, names, context, at.bucket, roles.glue)
    found = make_dagster(stack, names, context, data, roles.tasks, variables(at), at)
    metrics = Metrics(names, at.namespace)
    make_alarms(stack, names, context, notices.topic, metrics, datasets)
    make_dashboard(stack, names, metrics, datasets)
    for name, value in found.items():
        cdk.CfnOutput(stack, output_of(name), value=value)


def places(names: Names, context: Context, folders: Folders, account: str, topic_key: str | None = None) -> Places:
    """What the policies of an environment are about."""
    return Places(
        region=context.region,
        account=account,
        bucket=names.bucket("store", account),
        prefix="",
        folders=folders,
        queue=names.of("arrivals"),
        dead_letters=names.of("dead-letters"),
        glue_job=names.of("convert"),
        glue_database=names.database,
        workgroup=names.of("queries"),
        topic=names.of("alerts"),
        bus=names.of("events"),
        namespace=names.of("metrics"),
        reports=f"{names.bucket('reports', account)}/{INVENTORY}",
        topic_key=topic_key,
    )
