"""The lake's bucket with its rules, and the bucket of what AWS reports about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

from infra.context import Context
from infra.folders import INVENTORY, INVENTORY_ID, Folders
from infra.names import Names
from lake_pipeline.catalog.athena import RESULTS
from lake_pipeline.engines.task import STAGING

# What the report must hold for the lake to read it.
_INVENTORY_FIELDS = ["Size", "LastModifiedDate", "ETag"]
_EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
# Days.
_UPLOADS, _STAGED, _ANSWERS, _REPLACED, _REPORTS = 2, 14, 7, 30, 90
_TO_TIERING, _TO_ARCHIVE, _TO_DEEP_ARCHIVE = 60, 180, 270


def make_reports(stack: cdk.Stack, names: Names) -> s3.Bucket:
    """Where Inventory's reports, access logs and flow logs go, and are forgotten."""
    return _bucket(
        stack,
        "Reports",
        names.bucket("reports", cdk.Aws.ACCOUNT_ID),
        lifecycle_rules=[
            s3.LifecycleRule(
                id="reports",
                expiration=cdk.Duration.days(_REPORTS),
                noncurrent_version_expiration=cdk.Duration.days(1),
                abort_incomplete_multipart_upload_after=cdk.Duration.days(_UPLOADS),
            )
        ],
    )


def make_store(
    stack: cdk.Stack, names: Names, context: Context, folders: Folders, reports: s3.Bucket, queue: sqs.Queue
) -> s3.Bucket:
    """The bucket of the lake: what lands below a raw prefix is told to the queue."""
    name = names.bucket("store", cdk.Aws.ACCOUNT_ID)
    store = _bucket(
        stack,
        "Store",
        name,
        lifecycle_rules=list(_rules(folders)),
        server_access_logs_bucket=reports,
        server_access_logs_prefix="access/",
    )
    properties: dict[str, Any] = {
        "InventoryConfigurations": [_inventory(reports)],
        "NotificationConfiguration": {
            "QueueConfigurations": [_notification(prefix, event, queue) for prefix in folders.told for event in _EVENTS]
        },
    }
    if context.archive_tiers:
        properties["IntelligentTieringConfigurations"] = [
            _tiers(number, prefix) for number, prefix in enumerate(folders.archive, 1)
        ]
    resource = _resource(store)
    for path, value in properties.items():
        resource.add_property_override(path, value)
    _let_report(names, reports)
    # The queue must take the bucket's messages before the bucket is told to send any.
    queue.grant_send_messages(
        iam.ServicePrincipal(
            "s3.amazonaws.com",
            conditions={
                "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{name}"},
                "StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID},
            },
        )
    )
    policy = queue.node.try_find_child("Policy")
    assert policy is not None
    store.node.add_dependency(policy)
    return store


def _bucket(stack: cdk.Stack, identity: str, name: str, **more: Any) -> s3.Bucket:
    return s3.Bucket(
        stack,
        identity,
        bucket_name=name,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        versioned=True,
        removal_policy=cdk.RemovalPolicy.RETAIN,
        **more,
    )


def _resource(bucket: s3.Bucket) -> s3.CfnBucket:
    resource = bucket.node.default_child
    assert isinstance(resource, s3.CfnBucket)
    return resource


def _rules(folders: Folders) -> Iterator[s3.LifecycleRule]:
    """None deletes a current object of `_lake/`, from which the ledger is made anew."""
    yield s3.LifecycleRule(id="uploads", abort_incomplete_multipart_upload_after=cdk.Duration.days(_UPLOADS))
    yield s3.LifecycleRule(
        id="replaced", noncurrent_version_expiration=cdk.Duration.days(_REPLACED), expired_object_delete_marker=True
    )
    # Messages of Dagster Pipes lie below an attempt's staging too.
    yield s3.LifecycleRule(id="staging", prefix=STAGING, expiration=cdk.Duration.days(_STAGED))
    yield s3.LifecycleRule(id="answers", prefix=RESULTS, expiration=cdk.Duration.days(_ANSWERS))
    for number, prefix in enumerate(folders.archive, 1):
        yield s3.LifecycleRule(
            id=f"archived-{number}",
            prefix=prefix,
            transitions=[
                s3.Transition(
                    storage_class=s3.StorageClass.INTELLIGENT_TIERING,
                    transition_after=cdk.Duration.days(_TO_TIERING),
                )
            ],
        )


def _tiers(number: int, prefix: str) -> dict[str, Any]:
    tierings = [("ARCHIVE_ACCESS", _TO_ARCHIVE), ("DEEP_ARCHIVE_ACCESS", _TO_DEEP_ARCHIVE)]
    return {
        "Id": f"archived-{number}",
        "Prefix": prefix,
        "Status": "Enabled",
        "Tierings": [{"AccessTier": tier, "Days": days} for tier, days in tierings],
    }


def _inventory(reports: s3.Bucket) -> dict[str, Any]:
    """A daily report of the whole bucket: the lake reads one report, and `lake audit` looks for more than raw files."""
    return {
        "Id": INVENTORY_ID,
        "Enabled": True,
        "IncludedObjectVersions": "Current",
        "ScheduleFrequency": "Daily",
        "OptionalFields": _INVENTORY_FIELDS,
        "Destination": {"BucketArn": reports.bucket_arn, "Format": "Parquet", "Prefix": INVENTORY.rstrip("/")},
    }


def _notification(prefix: str, event: str, queue: sqs.Queue) -> dict[str, Any]:
    rule = {"Name": "prefix", "Value": prefix}
    return {"Event": event, "Queue": queue.queue_arn, "Filter": {"S3Key": {"Rules": [rule]}}}


def _let_report(names: Names, reports: s3.Bucket) -> None:
    reports.add_to_resource_policy(
        iam.PolicyStatement(
            principals=[iam.ServicePrincipal("s3.amazonaws.com")],
            actions=["s3:PutObject"],
            resources=[reports.arn_for_objects(f"{INVENTORY}*")],
            conditions={
                "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{names.bucket('store', cdk.Aws.ACCOUNT_ID)}"},
                "StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID},
            },
        )
    )
