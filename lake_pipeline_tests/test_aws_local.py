"""AWS on this machine, seen through botocore as production code sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lake_pipeline.aws import client
from lake_pipeline.aws_local.server import Refused, environment, serve
from lake_pipeline.errors import SettingsError


def meet(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)


def test_an_object_that_lands_is_told_to_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as url:
        meet(monkeypatch, url)
        s3, sqs = client("s3"), client("sqs")
        s3.create_bucket(Bucket="told", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        queue = sqs.create_queue(QueueName="arrivals")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        s3.put_bucket_notification_configuration(
            Bucket="told",
            NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
        )
        s3.put_object(Bucket="told", Key="raw/one file.ndjson", Body=b"{}\n")

        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]

    records = [record for message in messages for record in json.loads(message["Body"]).get("Records", [])]
    assert [record["s3"]["object"]["key"] for record in records] == ["raw%2Fone+file.ndjson"]


def test_an_operation_of_ours_is_carried_out_and_the_others_stay_motos(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def start(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"JobRunId": "jr_1"}

    with serve({"AWSGlue.StartJobRun": start}) as url:
        meet(monkeypatch, url)
        glue = client("glue")
        glue.create_database(DatabaseInput={"Name": "told"})

        assert glue.start_job_run(JobName="convert", Arguments={"--a": "b"})["JobRunId"] == "jr_1"
        assert glue.get_database(Name="told")["Database"]["Name"] == "told"
    assert asked == [{"JobName": "convert", "Arguments": {"--a": "b"}}]


def test_a_region_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="AWS, glue: You must specify a region"):
        client("glue")


def test_a_refusal_is_the_error_that_aws_would_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: dict[str, Any]) -> dict[str, Any]:
        raise Refused("ConcurrentRunsExceededException", "one run at a time")

    with serve({"AWSGlue.StartJobRun": start}) as url:
        meet(monkeypatch, url)
        with pytest.raises(ClientError, match="one run at a time") as error:
            client("glue").start_job_run(JobName="convert")
    assert error.value.response["Error"]["Code"] == "ConcurrentRunsExceededException"
