"""What each role may do, as IAM's statements; pure, so that the stacks, the documentation and the tests share them.

A role's S3 actions are held to the folders that it works in. `s3:ListBucket` is not held to prefixes for who converts:
S3 answers a HEAD of a missing key with 404 only to those who may list without a condition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from infra.folders import EXTRACTS, GLUE, MANIFESTS, OWN, QUARANTINE, Folders
from lake_pipeline.catalog.athena import RESULTS
from lake_pipeline.catalog.symlinks import SYMLINKS
from lake_pipeline.documents import ROOT
from lake_pipeline.engines.task import STAGING

Statement = dict[str, Any]
# As Athena asks for them: all that fit, some by name, or one.
_PARTITIONS = ("glue:GetPartitions", "glue:BatchGetPartition", "glue:GetPartition")


@dataclass(frozen=True)
class Places:
    """What there is to be allowed: ARNs, names and folders. `prefix` is LAKE_STORE's, such as `prod/`, or empty."""

    region: str
    account: str
    bucket: str
    prefix: str
    folders: Folders
    queue: str
    dead_letters: str
    glue_job: str
    glue_database: str
    workgroup: str
    topic: str
    bus: str
    namespace: str
    reports: str | None = None  # the bucket and prefix of Inventory's reports, such as my-reports/inventory/
    topic_key: str | None = None  # ARN of the KMS key that the topic is encrypted with

    def arn(self, service: str, resource: str) -> str:
        """Of a resource of this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def objects(self, folders: Iterable[str]) -> list[str]:
        """ARNs of all objects in these folders of the store, each once."""
        return [f"arn:aws:s3:::{self.bucket}/{self.prefix}{folder}*" for folder in dict.fromkeys(folders)]

    @property
    def reports_bucket(self) -> str:
        """The bucket of Inventory's reports."""
        return (self.reports or "").partition("/")[0]

    @property
    def tables(self) -> list[str]:
        """The catalogue with the lake's tables, all of which Glue asks for where one is meant."""
        return [
            self.arn("glue", "catalog"),
            self.arn("glue", f"database/{self.glue_database}"),
            self.arn("glue", f"table/{self.glue_database}/*"),
        ]


def glue(at: Places) -> list[Statement]:
    """The Glue job: reads raw files, manifests and the bundle, writes staging, deletes nothing."""
    sources = (*at.folders.raw, *at.folders.archive)
    return [
        _allow(["s3:ListBucket"], [f"arn:aws:s3:::{at.bucket}"]),
        _allow(["s3:GetObject"], at.objects([*sources, QUARANTINE, MANIFESTS, STAGING, GLUE])),
        _allow(["s3:PutObject", "s3:AbortMultipartUpload"], at.objects([STAGING])),
        _allow(
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            [at.arn("logs", "log-group:/aws-glue/jobs/*")],
        ),
        _metrics("Glue"),
    ]


def dagster(at: Places) -> list[Statement]:
    """Dagster's processes and the command `lake`: everything but converting, and that too where the engine is local."""
    made = (*at.folders.archive, *at.folders.output)
    statements = [
        _allow(["s3:ListBucket", "s3:GetBucketLocation"], [f"arn:aws:s3:::{at.bucket}"]),
        _allow(["s3:GetObject"], at.objects([*at.folders.raw, *made, *OWN])),
        _allow(["s3:PutObject", "s3:AbortMultipartUpload"], at.objects([*at.folders.kept, *made, *OWN])),
        _allow(
            ["s3:DeleteObject"],
            at.objects([*at.folders.raw, *made, EXTRACTS, QUARANTINE, ROOT, STAGING, SYMLINKS]),
        ),
        _allow(
            ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"],
            [at.arn("sqs", at.queue), at.arn("sqs", at.dead_letters)],
        ),
        _allow(["sqs:SendMessage"], [at.arn("sqs", at.queue)]),
        _allow(["sqs:GetQueueUrl"], [at.arn("sqs", at.dead_letters)]),
        _allow(
            ["glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun"],
            [at.arn("glue", f"job/{at.glue_job}")],
        ),
        _allow(
            [
                "glue:CreateDatabase",
                "glue:GetDatabase",
                "glue:GetTable",
                "glue:CreateTable",
                "glue:UpdateTable",
                "glue:DeleteTable",
                *_PARTITIONS,
                "glue:BatchCreatePartition",
                "glue:BatchDeletePartition",
            ],
            at.tables,
        ),
        _queries(at),
        _allow(["logs:GetLogEvents"], [at.arn("logs", "log-group:/aws-glue/jobs/*")]),
        _allow(["sns:Publish"], [at.arn("sns", at.topic)]),
        _allow(["events:PutEvents"], [at.arn("events", f"event-bus/{at.bus}")]),
        _metrics(at.namespace),
        *_diagnosis(at),
    ]
    if at.reports is not None:
        statements += [
            _allow(["s3:ListBucket"], [f"arn:aws:s3:::{at.reports_bucket}"]),
            _allow(["s3:GetObject"], [f"arn:aws:s3:::{at.reports}*"]),
        ]
    if at.topic_key is not None:
        statements.append(_allow(["kms:GenerateDataKey", "kms:Decrypt"], [at.topic_key]))
    return statements


def _diagnosis(at: Places) -> list[Statement]:
    """What `lake doctor` looks at; of a role of Glue's it says that it could not."""
    return [
        _allow(["s3:GetBucketNotification", "s3:GetLifecycleConfiguration"], [f"arn:aws:s3:::{at.bucket}"]),
        _allow(["glue:GetJob"], [at.arn("glue", f"job/{at.glue_job}")]),
        _allow(["athena:GetWorkGroup"], [at.arn("athena", f"workgroup/{at.workgroup}")]),
        _allow(["sns:GetTopicAttributes"], [at.arn("sns", at.topic)]),
        _allow(["events:DescribeEventBus"], [at.arn("events", f"event-bus/{at.bus}")]),
    ]


def crawler(at: Places) -> list[Statement]:
    """A crawler: reads raw files, and keeps tables in a database of its own."""
    database = raw_database(at)
    actions = (
        "GetDatabase",
        "GetTable",
        "GetTables",
        "CreateTable",
        "UpdateTable",
        "GetPartitions",
        "BatchGetPartition",
        "BatchCreatePartition",
        "UpdatePartition",
    )
    return [
        _allow(["s3:ListBucket"], [f"arn:aws:s3:::{at.bucket}"]),
        _allow(["s3:GetObject"], at.objects(at.folders.raw)),
        _allow(
            [f"glue:{action}" for action in actions],
            [at.arn("glue", part) for part in ("catalog", f"database/{database}", f"table/{database}/*")],
        ),
        _allow(
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
            [at.arn("logs", "log-group:/aws-glue/crawlers*")],
        ),
    ]


def raw_database(at: Places) -> str:
    """The Glue database of a crawler's tables."""
    return f"{at.glue_database}_raw"


def readers(at: Places) -> list[Statement]:
    """Who asks the tables, through Athena or by the lists of committed files, and changes nothing."""
    shown = (*at.folders.output, EXTRACTS, SYMLINKS)
    listed = [f"{at.prefix}{folder}*" for folder in (*shown, RESULTS)]
    return [
        _allow(["s3:GetBucketLocation"], [f"arn:aws:s3:::{at.bucket}"]),
        _allow(["s3:ListBucket"], [f"arn:aws:s3:::{at.bucket}"]) | {"Condition": {"StringLike": {"s3:prefix": listed}}},
        _allow(["s3:GetObject"], at.objects([*shown, RESULTS])),
        _allow(["s3:PutObject", "s3:AbortMultipartUpload"], at.objects([RESULTS])),
        _allow(["glue:GetDatabase", "glue:GetTable", *_PARTITIONS], at.tables),
        _queries(at),
    ]


def document(statements: list[Statement]) -> dict[str, Any]:
    """The policy of these statements."""
    return {"Version": "2012-10-17", "Statement": statements}


def _allow(actions: list[str], resources: list[str]) -> Statement:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _queries(at: Places) -> Statement:
    actions = ("StartQueryExecution", "GetQueryExecution", "GetQueryResults", "StopQueryExecution")
    return _allow([f"athena:{action}" for action in actions], [at.arn("athena", f"workgroup/{at.workgroup}")])


def _metrics(namespace: str) -> Statement:
    """CloudWatch knows no resources here, only namespaces."""
    condition = {"StringEquals": {"cloudwatch:namespace": namespace}}
    return _allow(["cloudwatch:PutMetricData"], ["*"]) | {"Condition": condition}


def launching(at: Places, cluster: str, family: str, log_group: str, passed: list[str]) -> list[Statement]:
    """What Dagster's EcsRunLauncher asks of ECS to start, watch and stop a task for each run.

    `passed` are the roles of that task: its own and the one that ECS starts it with.
    """
    tasks = at.arn("ecs", f"task/{cluster}/*")
    return [
        _allow(["ecs:RunTask"], [at.arn("ecs", f"task-definition/{family}:*")])
        | {"Condition": {"ArnEquals": {"ecs:cluster": at.arn("ecs", f"cluster/{cluster}")}}},
        _allow(["ecs:TagResource"], [tasks]) | {"Condition": {"StringEquals": {"ecs:CreateAction": "RunTask"}}},
        _allow(["ecs:DescribeTasks", "ecs:StopTask"], [tasks]),
        # These two know no resources.
        _allow(["ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces"], ["*"]),
        _allow(["iam:PassRole"], passed)
        | {"Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}},
        _allow(["logs:GetLogEvents"], [at.arn("logs", f"log-group:{log_group}:*")]),
    ]
