"""The synthesized resources on this machine's AWS: those that the pipeline meets, made by calls from the templates."""

from __future__ import annotations

import json
from typing import Any

from infra.folders import GLUE
from lake_pipeline.aws import client
from lake_pipeline.engines.task import SCRIPT
from lake_pipeline_tests.templates import Template


def deploy(data: Template, platform: Template) -> None:
    """Make buckets, queues, topic, bus, workgroup, catalogue and job, under their synthesized names and settings."""
    _make_queues(data)
    _make_buckets(data)
    client("sns").create_topic(Name=platform.one("AWS::SNS::Topic")["TopicName"])
    client("events").create_event_bus(Name=platform.one("AWS::Events::EventBus")["Name"])
    group = platform.one("AWS::Athena::WorkGroup")
    client("athena").create_work_group(Name=group["Name"], Configuration=group["WorkGroupConfiguration"])
    glue = client("glue")
    glue.create_database(DatabaseInput=platform.one("AWS::Glue::Database")["DatabaseInput"])
    job = platform.one("AWS::Glue::Job")
    job["NumberOfWorkers"], job["Timeout"] = int(job["NumberOfWorkers"]), int(job["Timeout"])
    glue.create_job(**{name: value for name, value in job.items() if name != "Tags"})
    bucket, _, key = job["Command"]["ScriptLocation"].removeprefix("s3://").partition("/")
    assert key.startswith(GLUE)
    client("s3").upload_file(str(SCRIPT), bucket, key)


def _make_queues(data: Template) -> None:
    sqs = client("sqs")
    # The one that the other's redrive policy names comes first.
    for queue in sorted(data.all("AWS::SQS::Queue").values(), key=lambda queue: "RedrivePolicy" in queue):
        attributes = {
            name: json.dumps(value) if isinstance(value, dict) else str(value).lower() if value is True else str(value)
            for name, value in queue.items()
            if name not in ("QueueName", "Tags")
        }
        sqs.create_queue(QueueName=queue["QueueName"], Attributes=attributes)


def _make_buckets(data: Template) -> None:
    s3 = client("s3")
    for bucket in data.all("AWS::S3::Bucket").values():
        name = bucket["BucketName"]
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": data.region})
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=bucket["VersioningConfiguration"])
        if told := bucket.get("NotificationConfiguration"):
            configurations = [_notification(item) for item in told["QueueConfigurations"]]
            s3.put_bucket_notification_configuration(
                Bucket=name, NotificationConfiguration={"QueueConfigurations": configurations}
            )


def _notification(item: dict[str, Any]) -> dict[str, Any]:
    """One of CloudFormation's as the API takes it."""
    rules = item["Filter"]["S3Key"]["Rules"]
    return {"QueueArn": item["Queue"], "Events": [item["Event"]], "Filter": {"Key": {"FilterRules": rules}}}
