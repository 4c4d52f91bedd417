"""The store's bucket: what it tells the queue, what its lifecycle rules end, and its inventory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.doctor.account import code_of
from lake_pipeline.doctor.clock import now
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, doubtful, good
from lake_pipeline.documents import ROOT
from lake_pipeline.engines.task import STAGING
from lake_pipeline.errors import InventoryInvalid, ReportAwaited, StoreError
from lake_pipeline.reports import duration_text

_CREATED = {"s3:ObjectCreated:*", "s3:ObjectCreated:Put"}
# A weekly report and a day's delay.
_OLDEST_REPORT = timedelta(days=8)


def look(at: Examined) -> Iterator[Finding]:
    s3, bucket = at.client("s3"), at.bucket
    if at.settings.events_queue is None:
        yield doubtful(
            "notification", "LAKE_EVENTS_QUEUE is not set, so prefixes are listed", "set up a queue: docs/aws-events.md"
        )
    else:
        queue = at.client("sqs").get_queue_attributes(QueueUrl=at.settings.events_queue, AttributeNames=["QueueArn"])
        found = s3.get_bucket_notification_configuration(Bucket=bucket.name)
        landing = [bucket.prefix + dataset.source.prefix for dataset in at.datasets]
        yield judge_notification(found, queue["Attributes"]["QueueArn"], landing, bucket.name)
    try:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    except ClientError as error:
        if code_of(error) != "NoSuchLifecycleConfiguration":
            raise
        rules = []
    kept = {ROOT, "manifests/"}
    for dataset in at.datasets:
        kept |= {dataset.source.prefix, dataset.output.stem.rpartition("/")[0] + "/"}
    yield from judge_lifecycle(rules, bucket, sorted(kept))
    yield _inventory(at)


def judge_notification(found: Mapping[str, Any], queue: str, landing: Sequence[str], bucket: str) -> Finding:
    """Whether the queue is told of every object that lands below these prefixes, which are from the bucket's root."""
    if "EventBridgeConfiguration" in found:
        return good(
            "notification", "all events go to EventBridge; that a rule sends them to the queue is not looked at"
        )
    told = [
        _filter_prefix(each)
        for each in found.get("QueueConfigurations", [])
        if each["QueueArn"] == queue and _CREATED & set(each["Events"]) and not _filter(each, "suffix")
    ]
    by_topic = [_filter_prefix(each) for each in found.get("TopicConfigurations", []) if _CREATED & set(each["Events"])]
    deaf = [prefix for prefix in landing if not any(prefix.startswith(each) for each in told + by_topic)]
    if deaf:
        return bad(
            "notification",
            f"nothing tells {queue} of what lands below {', '.join(deaf)}",
            f"aws s3api put-bucket-notification-configuration --bucket {bucket} …: docs/aws-events.md, Set up",
        )
    through = ", some through SNS, whose subscribers are not looked at" if by_topic else ""
    return good("notification", f"{queue} is told of every source prefix{through}")


def judge_lifecycle(rules: Sequence[Mapping[str, Any]], bucket: LakeBucket, kept: Sequence[str]) -> Iterator[Finding]:
    """Whether unfinished uploads and staging are ended, and nothing of the prefixes that are to be `kept`."""
    put = f"aws s3api put-bucket-lifecycle-configuration --bucket {bucket.name} …: docs/aws.md, 1"
    live = [rule for rule in rules if rule.get("Status") == "Enabled"]
    aborting = [rule for rule in live if "AbortIncompleteMultipartUpload" in rule and _covers(rule, bucket.prefix)]
    if aborting:
        days = aborting[0]["AbortIncompleteMultipartUpload"].get("DaysAfterInitiation")
        yield good("lifecycle, uploads", f"unfinished ones are ended after {days} days")
    else:
        yield bad("lifecycle, uploads", "nothing ends unfinished multi-part uploads, which cost money unseen", put)
    expiring = [rule for rule in live if "Expiration" in rule]
    if any(_covers(rule, bucket.prefix + STAGING) for rule in expiring):
        yield good("lifecycle, staging", f"{bucket.prefix}{STAGING} expires")
    else:
        yield doubtful("lifecycle, staging", f"{bucket.prefix}{STAGING} does not expire", put)
    ending = [
        (prefix, rule)
        for prefix in (bucket.prefix + each for each in kept)
        for rule in expiring
        if _rule_prefix(rule).startswith(prefix) or prefix.startswith(_rule_prefix(rule))
    ]
    for prefix, rule in ending:
        detail = f"the rule {rule.get('ID', 'without an ID')} deletes from {prefix}"
        yield bad("lifecycle, what is kept", detail, f"give the rule another prefix: {put}")
    if not ending:
        yield good(
            "lifecycle, what is kept", "no rule deletes raw files that wait, tables, or what the lake says of itself"
        )


def _covers(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether the rule is for everything below the prefix."""
    return (
        prefix.startswith(_rule_prefix(rule))
        and "Tag" not in rule.get("Filter", {})
        and "And" not in rule.get("Filter", {})
    )


def _rule_prefix(rule: Mapping[str, Any]) -> str:
    where = rule.get("Filter", {})
    return str(rule.get("Prefix", where.get("Prefix", where.get("And", {}).get("Prefix", ""))))


def _filter(configuration: Mapping[str, Any], name: str) -> str:
    rules = configuration.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return next((str(rule["Value"]) for rule in rules if rule["Name"].lower() == name), "")


def _filter_prefix(configuration: Mapping[str, Any]) -> str:
    return _filter(configuration, "prefix")


def _inventory(at: Examined) -> Finding:
    url = at.settings.inventory
    if url is None:
        return doubtful(
            "inventory", "LAKE_INVENTORY is not set, so prefixes are listed", "docs/aws-events.md, S3 Inventory"
        )
    from lake_pipeline.discovery.report import find_report  # Arrow is slow to import

    mend = "configure an inventory with Size, LastModifiedDate and ETag, and set LAKE_INVENTORY to its folder"
    try:
        report = find_report(url)
    except ReportAwaited as error:
        return doubtful("inventory", f"{error} Until then, the store is listed.", f"wait; if none comes, {mend}")
    except (InventoryInvalid, StoreError) as error:
        return bad("inventory", str(error), mend)
    return judge_report(report.created_at, report.bucket, at.bucket.name, now())


def judge_report(created_at: datetime, of: str, bucket: str, at: datetime) -> Finding:
    """Whether the newest report is of this bucket, and not older than a weekly one may be."""
    if of != bucket:
        return bad(
            "inventory", f"it is of the bucket {of}", "set LAKE_INVENTORY to the folder of this bucket's inventory"
        )
    detail = f"the newest report is {duration_text(at - created_at)} old"
    if at - created_at > _OLDEST_REPORT:
        return bad("inventory", detail, "look whether the inventory is enabled, and may write to its bucket")
    return good("inventory", detail)
