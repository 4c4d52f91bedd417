"""The three roles, each with its policy and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra import policies
from infra.acknowledged import acknowledge_wildcards
from infra.context import Context
from infra.names import Names


@dataclass(frozen=True)
class Roles:
    """Who converts on Glue, who runs Dagster, and who reads tables."""

    glue: iam.Role
    tasks: iam.Role
    readers: iam.Role


def make_roles(stack: cdk.Stack, names: Names, context: Context, at: policies.Places) -> Roles:
    """Statements are `policies`'; who may take a role is said here."""
    of_account = {"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}
    trusted: iam.IPrincipal = (
        iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in context.readers))
        if context.readers
        else iam.AccountRootPrincipal()
    )
    return Roles(
        glue=_role(
            stack,
            "GlueRole",
            names.of("glue"),
            iam.ServicePrincipal("glue.amazonaws.com", conditions=of_account),
            policies.glue(at),
        ),
        tasks=_role(
            stack,
            "TasksRole",
            names.of("tasks"),
            iam.ServicePrincipal("ecs-tasks.amazonaws.com", conditions=of_account),
            policies.dagster(at),
        ),
        readers=_role(stack, "ReadersRole", names.of("readers"), trusted, policies.readers(at)),
    )


def _role(
    stack: cdk.Stack, identity: str, name: str, trusted: iam.IPrincipal, statements: list[policies.Statement]
) -> iam.Role:
    document = iam.PolicyDocument.from_json(policies.document(statements))
    role = iam.Role(stack, identity, role_name=name, assumed_by=trusted, inline_policies={"lake": document})
    acknowledge_wildcards(role, statements)
    return role
