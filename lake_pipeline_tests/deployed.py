"""The synthesized resources on this machine's AWS: those that the pipeline meets, made by calls from the templates."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import make_server
from werkzeug.wrappers import Response

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


@contextmanager
def daemon_task(platform: Template) -> Iterator[dict[str, str]]:
    """The daemon as a task in a network of its own; the variables by which ECS tells a container where it is."""
    ec2, ecs = client("ec2"), client("ecs")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=vpc)["GroupId"]
    cluster = platform.one("AWS::ECS::Cluster")["ClusterName"]
    ecs.create_cluster(clusterName=cluster)
    for task in platform.all("AWS::ECS::TaskDefinition").values():
        size = {"cpu": int(task["Cpu"]), "memory": int(task["Memory"])}  # moto wants a container's, ECS the task's
        ecs.register_task_definition(
            family=task["Family"],
            networkMode=task["NetworkMode"],
            containerDefinitions=[
                {"name": container["Name"], "image": container["Image"], **size}
                for container in task["ContainerDefinitions"]
            ],
        )
    network = {"subnets": [subnet], "securityGroups": [group]}
    (daemon,) = ecs.run_task(
        cluster=cluster,
        taskDefinition=platform.named("AWS::ECS::TaskDefinition", f"lake-daemon-{cluster.rpartition('-')[2]}")[
            "Family"
        ],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )["tasks"]
    with _metadata({"Cluster": daemon["clusterArn"], "TaskARN": daemon["taskArn"]}) as url:
        yield {"ECS_CONTAINER_METADATA_URI_V4": url}


@contextmanager
def _metadata(document: dict[str, str]) -> Iterator[str]:
    """ECS's metadata endpoint of a container, which answers with the document; its URL."""
    server = make_server("127.0.0.1", 0, Response(json.dumps(document)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
