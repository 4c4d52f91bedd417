"""`lake doctor`: each thing broken in turn shows as a line that has failed, with what mends it."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from lake_pipeline.aws import client as aws_client
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.doctor.bucket import judge_lifecycle, judge_notification, judge_report
from lake_pipeline.doctor.catalogue import judge_workgroup
from lake_pipeline.doctor.checks import checks_of
from lake_pipeline.doctor.clock import judge_clock
from lake_pipeline.doctor.database import judge_connections, judge_durability, judge_revision, judge_server
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, good
from lake_pipeline.doctor.machine import judge_python, judge_room
from lake_pipeline.doctor.notices import judge_topic
from lake_pipeline.doctor.queue import judge_policy
from lake_pipeline.doctor.running import Check, run_checks
from lake_pipeline.guard import check_ledger
from lake_pipeline.ledger.health import Health, Server
from lake_pipeline.ledger.migrations import HEAD
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.faults import Fault, faulty_proxy
from lake_pipeline_tests.lakes import EVENTS, event, lake_of
from lake_pipeline_tests.test_clocks import WRONG_CLOCK


@pytest.fixture
def at(aws: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A lake's resources that are all as they should be, which this process's environment describes."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/events.yaml").write_text(yaml.safe_dump(EVENTS))
    others = {"LAKE_HOME": str(tmp_path), "LAKE_DATASETS": str(tmp_path / "datasets"), "LAKE_ENGINE": "glue"}
    for name, value in {**aws, **others}.items():
        monkeypatch.setenv(name, value)
    return aws


@cache
def _made(service: str, endpoint: str) -> Any:  # noqa: ARG001
    return aws_client(service)


def client(service: str) -> Any:
    """A client of AWS as this process's environment has it; to make one takes longer than to ask it."""
    return _made(service, os.environ["AWS_ENDPOINT_URL"])


def looked(*areas: str, examined: Examined | None = None) -> dict[str, Finding]:
    """What the checks of these areas, or all of them, find, by area and subject."""
    examined = examined or Examined(load_settings())
    checks = [check for check in checks_of(examined) if not areas or check.area in areas]
    return {f"{area}: {finding.subject}": finding for area, finding in run_checks(checks, examined, 30)}


def name_of(at: dict[str, str]) -> str:
    return at["LAKE_EVENT_BUS"]


def forget_notification(at: dict[str, str]) -> None:
    client("s3").put_bucket_notification_configuration(Bucket=name_of(at), NotificationConfiguration={})


def tell_of_another_prefix(at: dict[str, str]) -> None:
    s3 = client("s3")
    found = s3.get_bucket_notification_configuration(Bucket=name_of(at))["QueueConfigurations"][0]
    rules = [{"Name": "prefix", "Value": "lake/other/"}]
    told = {"QueueArn": found["QueueArn"], "Events": found["Events"], "Filter": {"Key": {"FilterRules": rules}}}
    s3.put_bucket_notification_configuration(
        Bucket=name_of(at), NotificationConfiguration={"QueueConfigurations": [told]}
    )


def forget_lifecycle(at: dict[str, str]) -> None:
    client("s3").delete_bucket_lifecycle(Bucket=name_of(at))


def expire_everything(at: dict[str, str]) -> None:
    rule = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 90}}
    client("s3").put_bucket_lifecycle_configuration(Bucket=name_of(at), LifecycleConfiguration={"Rules": [rule]})


def forget_redrive(at: dict[str, str]) -> None:
    client("sqs").set_queue_attributes(QueueUrl=at["LAKE_EVENTS_QUEUE"], Attributes={"RedrivePolicy": ""})


def forget_policy(at: dict[str, str]) -> None:
    client("sqs").set_queue_attributes(QueueUrl=at["LAKE_EVENTS_QUEUE"], Attributes={"Policy": ""})


def delete_queue(at: dict[str, str]) -> None:
    client("sqs").delete_queue(QueueUrl=at["LAKE_EVENTS_QUEUE"])


def delete_dead_letters(at: dict[str, str]) -> None:
    client("sqs").delete_queue(QueueUrl=at["LAKE_EVENTS_DLQ"])


def make_job_anew(at: dict[str, str], **change: Any) -> None:
    glue, name = client("glue"), at["LAKE_GLUE_JOB"]  # moto knows no UpdateJob
    job = glue.get_job(JobName=name)["Job"]
    glue.delete_job(JobName=name)
    kept = ("Role", "Command", "GlueVersion", "MaxRetries", "DefaultArguments", "ExecutionProperty")
    glue.create_job(Name=name, **{part: job[part] for part in kept} | change)


def delete_role(at: dict[str, str]) -> None:
    client("iam").delete_role(RoleName=name_of(at))


def trust_another(at: dict[str, str]) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    client("iam").update_assume_role_policy(RoleName=name_of(at), PolicyDocument=document)


def replace_script(at: dict[str, str]) -> None:
    client("s3").put_object(Bucket=name_of(at), Key="jobs/convert.py", Body=b"print('older')\n")


def delete_wheels(at: dict[str, str]) -> None:
    s3 = client("s3")
    (wheels,) = s3.list_objects_v2(Bucket=name_of(at), Prefix="jobs/lake-pipeline")["Contents"]
    s3.delete_object(Bucket=name_of(at), Key=wheels["Key"])


def delete_bucket(at: dict[str, str]) -> None:
    s3, name = client("s3"), name_of(at)
    for item in s3.list_objects_v2(Bucket=name)["Contents"]:
        s3.delete_object(Bucket=name, Key=item["Key"])
    s3.delete_bucket(Bucket=name)


# Each by itself, and none in the way of those that come after it.
BROKEN: list[tuple[str, str, Callable[[dict[str, str]], object], str]] = [
    ("bucket", "notification", tell_of_another_prefix, "put-bucket-notification-configuration"),
    ("bucket", "notification", forget_notification, "put-bucket-notification-configuration"),
    ("bucket", "lifecycle, uploads", forget_lifecycle, "put-bucket-lifecycle-configuration"),
    ("bucket", "lifecycle, what is kept", expire_everything, "another prefix"),
    ("queue", "dead letters", delete_dead_letters, "LAKE_EVENTS_DLQ"),
    ("queue", "redrive", forget_redrive, "RedrivePolicy"),
    ("queue", "policy", forget_policy, "Policy"),
    ("queue", "queue", delete_queue, "LAKE_EVENTS_QUEUE"),
    ("glue", "version", lambda at: make_job_anew(at, GlueVersion="4.0"), "GlueVersion 5.1"),
    ("glue", "retries", lambda at: make_job_anew(at, MaxRetries=2), "MaxRetries 0"),
    ("glue", "script", replace_script, "make glue-bundle"),
    ("glue", "bundle", delete_wheels, "make glue-bundle"),
    ("glue", "bundle", lambda at: make_job_anew(at, DefaultArguments={}), "make glue-bundle"),
    ("glue", "role", trust_another, "trust glue.amazonaws.com"),
    ("glue", "role", delete_role, "create-role"),
    ("glue", "job", lambda at: client("glue").delete_job(JobName=at["LAKE_GLUE_JOB"]), "LAKE_GLUE_JOB"),
    ("notices", "topic", lambda at: client("sns").delete_topic(TopicArn=at["LAKE_ALERTS_TOPIC"]), "create-topic"),
    ("notices", "event bus", lambda at: client("events").delete_event_bus(Name=name_of(at)), "create-event-bus"),
    ("bucket", "bucket", delete_bucket, "docs/operations.md"),
    ("store", "raw/", lambda _: None, "docs/aws-s3.md"),
]


def test_whatever_is_broken_fails_and_says_what_mends_it(at: dict[str, str]) -> None:
    examined = Examined(load_settings())
    for area, subject, break_, mend in BROKEN:
        break_(at)
        found = looked(area, examined=examined)[f"{area}: {subject}"]
        assert (found.state, mend in found.mend) == ("failed", True), found


def test_what_the_lake_needs_of_aws_is_found_and_nothing_is_left_behind(
    at: dict[str, str], aws_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = client("s3")
    before = s3.list_objects_v2(Bucket=name_of(at))["Contents"]
    found = looked()
    assert {subject: finding for subject, finding in found.items() if finding.state == "failed"} == {}
    assert {subject for subject, finding in found.items() if finding.state == "warning"} == {
        "bucket: inventory",
        "catalogue: scan limit",
        "database: server",
        "notices: topic",
    }
    assert found["store: raw/"].detail == "write, read, copy, list, delete"
    assert s3.list_objects_v2(Bucket=name_of(at))["Contents"] == before

    # What is named and is not there, what waits, and what is refused.
    client("sqs").send_message(QueueUrl=at["LAKE_EVENTS_DLQ"], MessageBody="poison")
    monkeypatch.setenv("LAKE_INVENTORY", f"s3://{name_of(at)}/inventory/")
    monkeypatch.setenv("LAKE_ATHENA_WORKGROUP", "nobodys")
    monkeypatch.setenv("LAKE_GLUE_DATABASE", "nobodys")
    with faulty_proxy(aws_url, Fault("denied", "PUT", "curated/"), Fault("denied", "COPY", "archive/")) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        found = looked("store", "queue", "bucket", "catalogue")
    assert {subject for subject, finding in found.items() if finding.state == "failed"} == {
        "store: curated/",
        "store: archive/",
        "catalogue: workgroup",
    }
    awaited = found["bucket: inventory"]
    assert (awaited.state, "up to 48 hours" in awaited.detail) == ("warning", True)
    assert found["store: curated/"].detail.startswith("write: ")
    assert found["store: archive/"].detail.startswith("copy: ")
    assert "s3:PutObject" in found["store: curated/"].mend
    letters, database = found["queue: dead letters"], found["catalogue: database"]
    assert (letters.state, letters.mend) == ("warning", "lake dlq list, then lake dlq redrive")
    assert (database.state, "create-database" in database.mend) == ("warning", True)


@pytest.fixture
def lake(tmp_path: Path, database_url: str) -> LakeCommand:
    """A lake in a directory, with a Postgres by URL that forgets what it is told when the machine stops."""
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    lake.land("raw/2026/week07/a.json", event(1))
    return lake


def findings(lake: LakeCommand, expect: int) -> dict[str, dict[str, str]]:
    document = json.loads(lake("doctor", "--json", expect=expect).stdout)
    found = {f"{each['area']}: {each['subject']}": each for each in document["findings"]}
    assert document["failed"] == sum(each["state"] == "failed" for each in found.values())
    return found


def test_a_clock_that_is_wrong_fails_and_so_does_a_server_that_forgets(lake: LakeCommand, tmp_path: Path) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock/sitecustomize.py").write_text(WRONG_CLOCK)
    path = os.pathsep.join([str(tmp_path / "clock"), os.environ.get("PYTHONPATH", "")])
    wrong = LakeCommand(lake.home, {**lake.variables, "PYTHONPATH": path, "CLOCK_SHIFT": "7200"})
    found = findings(wrong, expect=1)
    assert (found["database: clock"]["detail"], "chronyc" in found["database: clock"]["mend"]) == ("2 h apart", True)
    assert found["database: durability"]["state"] == "failed"
    assert found["store: curated/"]["detail"] == "not there yet, and may be made"
    assert {subject for subject, each in found.items() if each["state"] == "failed"} == {
        "database: clock",
        "database: durability",
    }


def test_a_table_for_people_has_a_line_for_each_thing_and_says_how_many_failed(lake: LakeCommand) -> None:
    (lake.home / "datasets/odd.yaml").write_text("name: odd\nnonsense: 1\n")
    lines = lake("doctor", expect=1).stdout.splitlines()
    assert lines[0].split() == ["state", "area", "what", "found", "mend"]
    (datasets,) = (line for line in lines if "LAKE_DATASETS" in line)
    assert datasets.startswith("failed")
    assert datasets.endswith(f"lake datasets validate {lake.home / 'datasets'}")
    assert lines[-1].endswith("2 failed")


def database_of(url: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> dict[str, Finding]:
    for name, value in {"LAKE_HOME": str(home), "LAKE_DATABASE_URL": url}.items():
        monkeypatch.setenv(name, value)
    return looked("database")


def test_a_database_without_migrations_or_grants_or_at_all_is_named(
    postgres_url: str, database_url: str, empty_database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = database_of(empty_database_url, monkeypatch, tmp_path)
    assert (found["database: migrations"].state, found["database: migrations"].mend.split(" (")[0]) == (
        "failed",
        "lake migrate",
    )

    role = f"doctor_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'".encode())
        try:
            url = database_url.replace("postgresql://postgres@", f"postgresql://{role}:p@")
            found = database_of(url, monkeypatch, tmp_path)
            assert found["database: migrations"].detail == f"{role} may not look"
            assert f"GRANT lake_app TO {role}" in found["database: grants"].mend
            connection.execute(f"GRANT lake_app TO {role}".encode())
            found = database_of(url, monkeypatch, tmp_path)
            assert (found["database: grants"].state, found["database: migrations"].state) == ("ok", "ok")
            with psycopg.connect(database_url, autocommit=True) as owner:
                owner.execute("REVOKE DELETE ON lake.outputs FROM lake_app")
            assert "lake.outputs" in database_of(url, monkeypatch, tmp_path)["database: grants"].detail
        finally:
            connection.execute(f"DROP ROLE {role}".encode())

    found = database_of("postgresql://nobody@127.0.0.1:1/lake", monkeypatch, tmp_path)
    assert (found["database: database"].state, "LAKE_DATABASE_URL" in found["database: database"].mend) == (
        "failed",
        True,
    )


def test_a_ledger_of_another_lake_is_named(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with lake_of(monkeypatch, tmp_path, database_url) as lake:
        check_ledger(lake, [])
    assert looked("database")["database: identity"].state == "ok"
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE lake.identity SET lake = gen_random_uuid()")
    found = looked("database")["database: identity"]
    assert (found.state, "lake rebuild" in found.mend) == ("failed", True)


def test_a_check_that_hangs_or_breaks_stops_no_other() -> None:
    release = threading.Event()

    def hang(_: Examined) -> Iterator[Finding]:
        yield good("before", "seen")
        release.wait()

    def break_(_: Examined) -> Iterator[Finding]:
        raise ValueError("odd")
        yield

    checks = [Check("a", hang, "wait"), Check("b", break_, "mend"), Check("c", lambda _: [good("c", "")], "")]
    found = list(run_checks(checks, Examined(load_settings()), 0.2))
    release.set()
    assert [(area, finding.subject, finding.state, finding.mend) for area, finding in found] == [
        ("a", "before", "ok", ""),
        ("a", "a", "failed", "wait"),
        ("b", "b", "failed", "mend"),
        ("c", "c", "ok", ""),
    ]
    assert (found[1][1].detail, found[2][1].detail) == ("no answer within 0.2 s", "ValueError: odd")


def test_the_verdicts_on_what_no_test_can_break() -> None:
    now = datetime(2026, 2, 1, tzinfo=UTC)
    server = Server(160004, "UTF8", "lake", True, 100, 10, 10**6, now)
    well = Health(server, HEAD, ())
    assert judge_server(Health(replace(server, version=130000), HEAD, ()), "").state == "failed"
    assert judge_server(Health(replace(server, encoding="LATIN1"), HEAD, ()), "").state == "failed"
    assert judge_durability(well).state == judge_connections(well).state == "ok"
    assert judge_connections(Health(replace(server, connections=90), HEAD, ())).state == "warning"
    assert judge_revision(Health(server, "9999", ())).mend == "install the newer release"
    assert judge_python((3, 10, 1)).state == "failed"
    assert [judge_room("TMPDIR", free, 2**33, "/tmp").state for free in (2**34, 2**32, 2**20)] == [
        "ok",
        "warning",
        "failed",
    ]
    apart = [judge_clock("", now + timedelta(seconds=away), now, now).state for away in (0, 40, -900)]
    assert apart == ["ok", "warning", "failed"]
    assert next(judge_workgroup({"Name": "w", "State": "DISABLED"})).state == "failed"
    assert judge_topic("t", {"SubscriptionsConfirmed": "1"}).state == "ok"
    assert (
        judge_policy({"Policy": '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "SQS:*"}}'}, "q").state
        == "ok"
    )
    bucket, kept = LakeBucket("b", "lake/"), ["_lake/", "raw/"]
    tagged = {"Status": "Enabled", "Filter": {"Tag": {}}, "AbortIncompleteMultipartUpload": {}}
    assert next(judge_lifecycle([tagged], bucket, kept)).state == "failed"
    old = {"ID": "o", "Status": "Enabled", "Prefix": "lake/raw/2019/", "Expiration": {"Days": 1}}
    assert [finding.state for finding in judge_lifecycle([old], bucket, kept)][-1] == "failed"
    assert judge_notification({"EventBridgeConfiguration": {}}, "q", ["lake/raw/"], "b").state == "ok"
    ages = [judge_report(now - timedelta(days=days), "b", "b", now).state for days in (1, 20)]
    assert (ages, judge_report(now, "other", "b", now).state) == (["ok", "failed"], "failed")
