"""Where tables are found and asked: the Glue database, Athena's workgroup, and a crawler for who wants one."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam

from infra import policies
from infra.acknowledged import acknowledge_job, acknowledge_wildcards
from infra.context import Context
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
                encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                    encryption_option="SSE_S3"
                ),
            ),
        ),
    )


def make_crawler(stack: cdk.Stack, names: Names, at: policies.Places) -> None:
    """A crawler over the raw prefixes, started by hand; its tables are for looking around, the lake reads none."""
    glue.CfnDatabase(
        stack,
        "RawTables",
        catalog_id=cdk.Aws.ACCOUNT_ID,
        database_input=glue.CfnDatabase.DatabaseInputProperty(
            name=policies.raw_database(at), description="What a crawler makes of the lake's raw files; nothing reads it"
        ),
    )
    statements = policies.crawler(at)
    document = iam.PolicyDocument.from_json(policies.document(statements))
    role = iam.Role(
        stack,
        "CrawlerRole",
        role_name=names.of("crawler"),
        assumed_by=iam.ServicePrincipal("glue.amazonaws.com"),
        inline_policies={"crawler": document},
    )
    acknowledge_wildcards(role, statements)
    crawler = glue.CfnCrawler(
        stack,
        "Crawler",
        name=names.of("crawler"),
        role=role.role_arn,
        database_name=policies.raw_database(at),
        targets=glue.CfnCrawler.TargetsProperty(
            s3_targets=[
                glue.CfnCrawler.S3TargetProperty(path=f"s3://{at.bucket}/{prefix}") for prefix in at.folders.told
            ]
        ),
        schema_change_policy=glue.CfnCrawler.SchemaChangePolicyProperty(
            update_behavior="UPDATE_IN_DATABASE", delete_behavior="LOG"
        ),
    )
    acknowledge_job(crawler)
