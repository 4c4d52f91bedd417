"""Where tables are found and asked: the Glue database, Athena's workgroup, and a crawler for who wants one."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam

from infra.context import Context
from infra.folders import Folders
from infra.names import Names
from lake_pipeline.catalog.athena import RESULTS


def make_catalogue(stack: cdk.Stack, names: Names, context: Context, store: str) -> None:
    """The database, to which the lake adds its tables, and the workgroup, whose queries end at the scan limit."""
    glue.CfnDatabase(
        stack,
        "Tables",
        catalog_id=cdk.Aws.ACCOUNT_ID,
        database_input=glue.CfnDatabase.DatabaseInputProperty(
            name=names.database, description="Tables of the lake; made and changed by its commits"
        ),
    )
    athena.CfnWorkGroup(
        stack,
        "Queries",
        name=names.of("queries"),
        description="Queries of the lake and of its readers",
        recursive_delete_option=True,
        work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
            # Not enforced: extracts are written by UNLOAD, to a folder that the query names.
            enforce_work_group_configuration=False,
            bytes_scanned_cutoff_per_query=context.scan_limit * 2**30,
            publish_cloud_watch_metrics_enabled=True,
            result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                output_location=f"s3://{store}/{RESULTS}",
                encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(encryption_option="SSE_S3"),
            ),
        ),
    )


def make_crawler(stack: cdk.Stack, names: Names, folders: Folders, store: str) -> None:
    """A crawler over the raw prefixes, started by hand; its tables are for looking around, the lake reads none."""
    database = f"{names.database}_raw"
    glue.CfnDatabase(
        stack,
        "RawTables",
        catalog_id=cdk.Aws.ACCOUNT_ID,
        database_input=glue.CfnDatabase.DatabaseInputProperty(
            name=database, description="What a crawler makes of the lake's raw files; nothing reads it"
        ),
    )
    raw = [f"arn:aws:s3:::{store}/{prefix}*" for prefix in folders.raw]
    catalogue = [
        stack.format_arn(service="glue", resource=resource)
        for resource in ("catalog", f"database/{database}", f"table/{database}/*")
    ]
    logs = stack.format_arn(service="logs", resource="log-group", resource_name=None)
    role = iam.Role(
        stack,
        "CrawlerRole",
        role_name=names.of("crawler"),
        assumed_by=iam.ServicePrincipal("glue.amazonaws.com"),
        inline_policies={
            "crawler": iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(actions=["s3:ListBucket"], resources=[f"arn:aws:s3:::{store}"]),
                    iam.PolicyStatement(actions=["s3:GetObject"], resources=raw),
                    iam.PolicyStatement(
                        actions=[
                            f"glue:{action}"
                            for action in (
                                "GetDatabase",
                                "GetTable",
                                "GetTables",
                                "CreateTable",
                                "UpdateTable",
                                "GetPartition",
                                "GetPartitions",
                                "BatchGetPartition",
                                "BatchCreatePartition",
                                "UpdatePartition",
                            )
                        ],
                        resources=catalogue,
                    ),
                    iam.PolicyStatement(
                        actions=["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                        resources=[f"{logs}:/aws-glue/crawlers*"],
                    ),
                ]
            )
        },
    )
    glue.CfnCrawler(
        stack,
        "Crawler",
        name=names.of("crawler"),
        role=role.role_arn,
        database_name=database,
        targets=glue.CfnCrawler.TargetsProperty(
            s3_targets=[glue.CfnCrawler.S3TargetProperty(path=f"s3://{store}/{prefix}") for prefix in folders.raw]
        ),
        schema_change_policy=glue.CfnCrawler.SchemaChangePolicyProperty(
            update_behavior="UPDATE_IN_DATABASE", delete_behavior="LOG"
        ),
    )
