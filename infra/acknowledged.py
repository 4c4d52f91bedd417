"""Findings of cdk-nag's AwsSolutions that stay, each with its reason. What is not here fails `make synth`."""

from __future__ import annotations

from collections.abc import Iterable

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from infra.context import Context
from infra.policies import Statement

_DATABASE = {
    "RDS11": "The port is reached from the tasks' security group alone; another number would hide nothing.",
}
_SECRET = {
    "SMG4": "Tasks take the worker's password when they start, so a rotation that nobody waits for would lock them out;"
    " the owner's is read where tables are migrated. docs/infrastructure.md says how to change each by hand.",
}
_UNPROTECTED = {
    "RDS10": "An environment to try things in: it may be deleted; what is deleted leaves a snapshot.",
}
_ALONE = {
    "RDS3": "An environment to try things in: a failure of the zone stops it until the zone is back.",
}
_JOB = {
    "GL1": "CloudWatch encrypts logs by itself; the job's logs name files and errors, and hold no records.",
    "GL3": "The job keeps no bookmarks: the ledger knows what was converted.",
}
_TASK = {
    "ECS2": "They are names of resources; the password comes from Secrets Manager.",
}
# Why a resource of a policy ends in a wildcard, by its service.
_WILDCARDS = {
    "s3": "All objects of a folder that a declaration, or the platform, calls its own: their names are data.",
    "logs": "Glue and ECS name log streams after runs.",
    "glue": "The tables of the lake's own database, which are made with each dataset.",
    "ecs": "Revisions of one task definition; tasks of one cluster, whose names ECS makes.",
    "*": "The action knows no resources; where a condition can hold it to the lake's namespace, one does.",
}


def acknowledge_database(database: IConstruct, context: Context) -> None:
    """Findings about the database and its owner's secret."""
    _acknowledge(database, _DATABASE)
    acknowledge_secret(database.node.find_child("Secret"))
    if not context.protected:
        _acknowledge(database, _UNPROTECTED)
    if not context.database_standby:
        _acknowledge(database, _ALONE)


def acknowledge_secret(secret: IConstruct) -> None:
    """Findings about a secret with a password of the database."""
    _acknowledge(secret, _SECRET)


def acknowledge_job(job: IConstruct) -> None:
    """Findings about a Glue job or crawler."""
    _acknowledge(job, _JOB)


def acknowledge_task(task: IConstruct) -> None:
    """Findings about a task definition."""
    _acknowledge(task, _TASK)


def acknowledge_wildcards(role: iam.Role, statements: Iterable[Statement]) -> None:
    """Resources with wildcards in these statements; none of an action, of which there is to be no wildcard."""
    resources = {resource for statement in statements for resource in statement["Resource"] if "*" in resource}
    for resource in sorted(resources):
        service = "*" if resource == "*" else resource.split(":")[2]
        text = resource.replace(cdk.Aws.ACCOUNT_ID, "<AWS::AccountId>")  # as cdk-nag shows it
        _acknowledge(role, {f"IAM5[Resource::{text}]": _WILDCARDS[service]})


def _acknowledge(construct: IConstruct, findings: dict[str, str]) -> None:
    for rule, reason in findings.items():
        cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason))
