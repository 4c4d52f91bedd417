"""A lake's resources on the AWS of this machine, made by calls: those that docs/aws.md has a user set up."""

from __future__ import annotations

import json

from lake_pipeline import __version__
from lake_pipeline.aws import client
from lake_pipeline.aws_local.server import REGION
from lake_pipeline.engines.task import SCRIPT

# AWS asks for six times the longest that a reader works on what it received; a sensor's tick ends after 60 s.
VISIBILITY_SECONDS = 360
MOST_RECEIVES = 3
SCRIPT_KEY = "jobs/convert.py"
# Its name only: scripts run in this Python, where all of it is installed.
WHEELS_KEY = f"jobs/lake-pipeline-{__version__}.gluewheels.zip"


def make_lake(name: str) -> dict[str, str]:
    """Make a bucket, its queues of arrivals and of what cannot be read, a topic, a bus, a Glue database and a Glue job.

    All bear the name; AWS is what this process's environment says. The variables with which the lake meets them.
    """
    queue, dead_letters = _queues(name)
    store = make_bucket(name)
    notification = {"QueueArn": _arn(queue), "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    client("s3").put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"QueueConfigurations": [notification]}
    )
    _put_lifecycle(name)
    topic = client("sns").create_topic(Name=f"{name}-alerts")["TopicArn"]
    client("events").create_event_bus(Name=name)
    database = name.replace("-", "_")  # Athena takes no hyphens
    client("glue").create_database(DatabaseInput={"Name": database})
    return {
        "LAKE_STORE": store,
        "LAKE_EVENTS_QUEUE": queue,
        "LAKE_EVENTS_DLQ": dead_letters,
        "LAKE_ALERTS_TOPIC": topic,
        "LAKE_EVENT_BUS": name,
        "LAKE_METRICS_NAMESPACE": name,
        "LAKE_GLUE_DATABASE": database,
        "LAKE_GLUE_JOB": make_job(name, name),
    }


def make_bucket(name: str) -> str:
    """Make a bucket that tells nobody what lands in it; the URL of a lake's root there."""
    client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return f"s3://{name}/lake"


def make_job(name: str, bucket: str) -> str:
    """Make the job that converts manifests, its script in this bucket; the job's name."""
    client("s3").upload_file(str(SCRIPT), bucket, SCRIPT_KEY)
    client("s3").put_object(Bucket=bucket, Key=WHEELS_KEY, Body=b"")
    trust = {"Effect": "Allow", "Principal": {"Service": "glue.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    client("glue").create_job(
        Name=name,
        Role=role,
        Command={"Name": "glueetl", "ScriptLocation": f"s3://{bucket}/{SCRIPT_KEY}", "PythonVersion": "3"},
        GlueVersion="5.1",
        WorkerType="G.1X",
        NumberOfWorkers=2,
        ExecutionProperty={"MaxConcurrentRuns": 4},
        MaxRetries=0,
        Timeout=120,
        DefaultArguments={"--additional-python-modules": f"s3://{bucket}/{WHEELS_KEY}"},
    )
    return name


def _put_lifecycle(bucket: str) -> None:
    rules = [
        {"ID": "uploads", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
        {"ID": "answers", "Filter": {"Prefix": "lake/_athena/"}, "Expiration": {"Days": 7}},
        {"ID": "staging", "Filter": {"Prefix": "lake/_staging/"}, "Expiration": {"Days": 14}},
    ]
    client("s3").put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [rule | {"Status": "Enabled"} for rule in rules]}
    )


def _queues(name: str) -> tuple[str, str]:
    """The URLs of the queue of arrivals and of the one that takes what was received too often."""
    sqs = client("sqs")
    dead_letters = sqs.create_queue(QueueName=f"{name}-dead-letters")["QueueUrl"]
    redrive = {"deadLetterTargetArn": _arn(dead_letters), "maxReceiveCount": MOST_RECEIVES}
    sending = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
    attributes = {
        "VisibilityTimeout": str(VISIBILITY_SECONDS),
        "RedrivePolicy": json.dumps(redrive),
        "Policy": json.dumps({"Version": "2012-10-17", "Statement": [sending | {"Resource": "*"}]}),
    }
    return sqs.create_queue(QueueName=f"{name}-arrivals", Attributes=attributes)["QueueUrl"], dead_letters


def _arn(queue: str) -> str:
    found = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    return str(found["Attributes"]["QueueArn"])
