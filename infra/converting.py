"""The Glue job that converts manifests."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam

from infra.acknowledged import acknowledge_job
from infra.context import Context
from infra.glue_bundle import archive_name, job
from infra.names import Names


def make_job(stack: cdk.Stack, names: Names, context: Context, store: str, role: iam.Role) -> None:
    """The job that `make glue-bundle` describes, with files that lie in `glue/` of the store."""
    described = job(f"s3://{store}", archive_name(), "convert.py", at_once=context.glue_at_once)
    made = glue.CfnJob(
        stack,
        "Convert",
        name=names.of("convert"),
        role=role.role_arn,
        glue_version=described["GlueVersion"],
        worker_type=described["WorkerType"],
        number_of_workers=described["NumberOfWorkers"],
        timeout=described["Timeout"],
        max_retries=described["MaxRetries"],
        execution_property=glue.CfnJob.ExecutionPropertyProperty(
            max_concurrent_runs=described["ExecutionProperty"]["MaxConcurrentRuns"]
        ),
        command=glue.CfnJob.JobCommandProperty(
            name=described["Command"]["Name"],
            python_version=described["Command"]["PythonVersion"],
            script_location=described["Command"]["ScriptLocation"],
        ),
        default_arguments=described["DefaultArguments"],
    )
    acknowledge_job(made)
