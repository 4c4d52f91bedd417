"""The stacks of infra/, as their synthesized templates say them; nothing here meets an account."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.workspace.config_schema import process_workspace_config
from dagster_aws.ecs import EcsRunLauncher
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from infra import costs
from infra.context import ROOT, Context, context_of
from infra.environment import environment
from infra.examples import examples
from infra.folders import OWN, Folders
from infra.glue_bundle import archive_name, job
from infra.queues import MOST_RECEIVES, VISIBILITY_SECONDS
from infra.synth import app_environment, lint
from lake_pipeline import __version__
from lake_pipeline.aws_local import resources
from lake_pipeline.dagster_home import CONFIG
from lake_pipeline.declarations import load_datasets
from lake_pipeline.ledger.models import BacklogSummary
from lake_pipeline.ledger.news import ManifestNews
from lake_pipeline.notices.metrics import counts_of, gauges_of
from lake_pipeline.settings import BUNDLED_DATASETS, Settings, load_settings
from lake_pipeline_tests.aws_calls import ACCOUNT
from lake_pipeline_tests.iam import listed
from lake_pipeline_tests.templates import Template

REGION = "eu-central-1"
ENVIRONMENTS = ("dev", "prod", "full")
RAW = "raw-json-data/"
ARCHIVED = "raw-json-data-processed/"
IMAGE = ROOT / "infra/image"
# Settings that an account does not decide: their defaults hold, or who runs a process sets them.
NOT_OF_AWS = {
    "home": "the image says it",
    "database_url": "has a password, so it comes from the secret",
    "migration_database_url": "has a password; for lake migrate alone",
    "import_database_url": "has a password; of an old system, for lake import alone",
    "datasets": "the image holds the declarations",
    "dagster_home": "the image says it",
    "athena_reuse_minutes": "a wish of who asks",
    "glue_spark": "a choice of the engine",
    "glue_poll_seconds": "a choice of the engine",
    "glue_retry_seconds": "a choice of the engine",
    "threads": "a choice of the engine",
    "memory": "a choice of the engine",
    "grace_seconds": "less than ECS gives a task to stop",
    "s3_encryption": "the bucket's default holds",
    "s3_kms_key_id": "the bucket's default holds",
    "spark_master": "of the engine spark",
    "spark_part": "a choice of the engine",
    "spark_home": "of the engine spark",
    "java_home": "of the engine spark",
}


# The property that is a resource's name.
NAMED = {
    "AWS::Athena::WorkGroup": "Name",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::EC2::SecurityGroup": "GroupName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::ECS::Cluster": "ClusterName",
    "AWS::ECS::Service": "ServiceName",
    "AWS::ECS::TaskDefinition": "Family",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "Name",
    "AWS::Events::EventBus": "Name",
    "AWS::Glue::Crawler": "Name",
    "AWS::Glue::Job": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::RDS::DBInstance": "DBInstanceIdentifier",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
}


@pytest.fixture(params=ENVIRONMENTS)
def env(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def data(templates: Path, env: str) -> Template:
    return Template.read(templates / f"lake-data-{env}.template.json", REGION)


@pytest.fixture
def platform(templates: Path, env: str) -> Template:
    return Template.read(templates / f"lake-platform-{env}.template.json", REGION)


def store(data: Template, env: str) -> dict[str, Any]:
    return data.named("AWS::S3::Bucket", f"lake-store-{env}-{ACCOUNT}")


def rules(bucket: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}


def test_cfn_lint_finds_nothing(templates: Path) -> None:
    assert lint(sorted(templates.glob("*.template.json"))).returncode == 0


def test_cdk_nag_looked_and_every_finding_that_stays_has_its_reason(templates: Path) -> None:
    acknowledged = {
        (entry["data"]["id"] if "id" in entry["data"] else str(entry["data"]))
        for path in templates.glob("*.metadata.json")
        for entries in json.loads(path.read_text()).values()
        for entry in entries
        if "AwsSolutions" in str(entry.get("data"))
    }
    assert json.loads((templates / "validation-report.json").read_text())["pluginReports"] == []
    assert acknowledged


@pytest.mark.slow
def test_a_finding_without_a_reason_fails_the_synthesis(tmp_path: Path) -> None:
    unreasoned = "from infra import acknowledged, app; acknowledged._acknowledge = lambda *_: None; app.main()"
    done = subprocess.run(
        [sys.executable, "-c", unreasoned], cwd=ROOT, env=app_environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "AwsSolutions-SMG4" in done.stdout + done.stderr


def test_what_holds_data_stays_when_a_stack_goes(data: Template, platform: Template) -> None:
    kept = {"AWS::S3::Bucket", "AWS::RDS::DBInstance", "AWS::ECR::Repository"}
    for resource in data.document["Resources"].values():
        if resource["Type"] in kept:
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert Counter(resource["Type"] for resource in data.document["Resources"].values()) >= Counter(kept)
    assert not kept & {resource["Type"] for resource in platform.document["Resources"].values()}


def test_buckets_are_private_encrypted_versioned_and_take_tls_only(data: Template) -> None:
    buckets = data.all("AWS::S3::Bucket")
    assert len(buckets) == 2
    for bucket in buckets.values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    policies = data.all("AWS::S3::BucketPolicy").values()
    assert {policy["Bucket"] for policy in policies} == {bucket["BucketName"] for bucket in buckets.values()}
    for policy in policies:
        denied = [item for item in policy["PolicyDocument"]["Statement"] if item["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in [item["Condition"] for item in denied]


def test_the_queue_is_told_what_lands_and_is_deleted_below_each_raw_prefix_once(data: Template, env: str) -> None:
    told = store(data, env)["NotificationConfiguration"]["QueueConfigurations"]
    assert {item["Queue"] for item in told} == {f"arn:aws:sqs:{REGION}:{ACCOUNT}:lake-arrivals-{env}"}
    prefixes = Counter((item["Event"], item["Filter"]["S3Key"]["Rules"][0]["Value"]) for item in told)
    assert prefixes == Counter(
        (event, dataset.source.prefix)
        for dataset in load_datasets(BUNDLED_DATASETS).values()
        for event in ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    )
    # S3 tries the queue when the bucket is made.
    (logical,) = (
        name for name, item in data.all("AWS::S3::Bucket").items() if item["BucketName"].startswith("lake-store")
    )
    policies = data.all("AWS::SQS::QueuePolicy")
    assert set(data.document["Resources"][logical]["DependsOn"]) & set(policies)
    allowed = [
        statement
        for policy in policies.values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert [statement["Condition"]["ArnEquals"]["aws:SourceArn"] for statement in allowed] == [
        f"arn:aws:s3:::lake-store-{env}-{ACCOUNT}"
    ]


def test_lifecycle_rules_tier_what_is_archived_and_end_what_is_left_behind(data: Template, env: str) -> None:
    found = rules(store(data, env))
    assert {rule["Prefix"]: rule["ExpirationInDays"] for rule in found.values() if "ExpirationInDays" in rule} == {
        "_staging/": 14,  # with messages of Dagster Pipes
        "_athena/": 7,
    }
    assert found["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    (archived,) = (rule for rule in found.values() if rule.get("Prefix") == ARCHIVED)
    assert archived["Transitions"] == [{"StorageClass": "INTELLIGENT_TIERING", "TransitionInDays": 60}]
    # The ledger is made anew from these.
    assert not [rule for rule in found.values() if rule.get("Prefix", "").startswith("_lake")]
    assert {name for name, rule in found.items() if "Prefix" not in rule} == {"uploads", "replaced"}


def test_archive_tiers_are_an_option(data: Template, env: str) -> None:
    tiers = {
        item["Prefix"]: {tier["AccessTier"]: tier["Days"] for tier in item["Tierings"]}
        for item in store(data, env).get("IntelligentTieringConfigurations", [])
    }
    assert tiers.get(ARCHIVED) == (None if env == "dev" else {"ARCHIVE_ACCESS": 180, "DEEP_ARCHIVE_ACCESS": 270})


def test_the_inventory_lists_the_bucket_with_what_the_lake_reads_of_it(data: Template, env: str) -> None:
    (inventory,) = store(data, env)["InventoryConfigurations"]
    assert inventory["Enabled"]
    assert inventory["ScheduleFrequency"] == "Daily"
    assert set(inventory["OptionalFields"]) == {"Size", "LastModifiedDate", "ETag"}
    assert inventory["Destination"]["BucketArn"] == f"arn:aws:s3:::lake-reports-{env}-{ACCOUNT}"


def test_queues_wait_keep_and_give_up_as_declared(data: Template, env: str) -> None:
    arrivals = data.named("AWS::SQS::Queue", f"lake-arrivals-{env}")
    dead = data.named("AWS::SQS::Queue", f"lake-dead-letters-{env}")
    day = 86_400
    assert (arrivals["VisibilityTimeout"], arrivals["ReceiveMessageWaitTimeSeconds"]) == (360, 20)
    assert (arrivals["MessageRetentionPeriod"], dead["MessageRetentionPeriod"]) == (4 * day, 14 * day)
    assert arrivals["RedrivePolicy"] == {
        "deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:lake-dead-letters-{env}",
        "maxReceiveCount": 3,
    }
    # On this machine it is the same.
    assert (resources.VISIBILITY_SECONDS, resources.MOST_RECEIVES) == (VISIBILITY_SECONDS, MOST_RECEIVES)


def test_the_database_is_private_encrypted_and_backed_up(data: Template, env: str) -> None:
    database = data.one("AWS::RDS::DBInstance")
    assert database["Engine"] == "postgres"
    assert int(database["EngineVersion"].split(".")[0]) >= 16
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True
    assert database["BackupRetentionPeriod"] >= 14
    assert database["DeletionProtection"] is (env != "dev")
    assert "resolve:secretsmanager" in database["MasterUserPassword"]
    (parameters,) = data.all("AWS::RDS::DBParameterGroup").values()
    assert parameters["Parameters"]["rds.force_ssl"] == "1"
    # The database's group is entered from the tasks' alone.
    entered = [item for item in data.all("AWS::EC2::SecurityGroupIngress").values() if item["ToPort"] == 5432]
    assert len(entered) == 1
    assert "TasksGroup" in entered[0]["SourceSecurityGroupId"]


def test_the_glue_job_is_the_one_that_the_bundle_describes(platform: Template, env: str) -> None:
    made = platform.one("AWS::Glue::Job")
    assert (made["GlueVersion"], made["WorkerType"], made["NumberOfWorkers"]) == ("5.1", "G.1X", 10)
    assert (made["Timeout"], made["MaxRetries"]) == (60, 0)
    assert made["ExecutionProperty"] == {"MaxConcurrentRuns": 3}
    described = job(f"s3://lake-store-{env}-{ACCOUNT}", archive_name(), "convert.py")
    assert made["DefaultArguments"] == described["DefaultArguments"]
    assert made["Command"] == described["Command"]
    assert made["DefaultArguments"]["--enable-auto-scaling"] == "true"
    assert made["DefaultArguments"]["--enable-continuous-cloudwatch-log"] == "true"
    assert __version__ in made["DefaultArguments"]["--additional-python-modules"]


def test_queries_end_at_the_scan_limit(platform: Template) -> None:
    group = platform.one("AWS::Athena::WorkGroup")["WorkGroupConfiguration"]
    assert group["BytesScannedCutoffPerQuery"] == 2**40
    assert group["ResultConfiguration"]["OutputLocation"].endswith("/_athena/")


def test_dagster_runs_from_one_image_behind_a_balancer_of_the_network(platform: Template, env: str) -> None:
    tasks = {item["Family"]: item["ContainerDefinitions"] for item in platform.all("AWS::ECS::TaskDefinition").values()}
    assert set(tasks) == {f"lake-{name}-{env}" for name in ("code", "daemon", "run", "webserver")}
    containers = [container for found in tasks.values() for container in found]
    assert len({container["Image"] for container in containers}) == 1
    for container in containers:
        given = {item["Name"]: item["Value"] for item in container["Environment"]}
        assert given["DAGSTER_RUN_TASK"] == f"lake-run-{env}"
        assert given["LAKE_STORE"] == f"s3://lake-store-{env}-{ACCOUNT}"
        assert container["StopTimeout"] > Settings().grace_seconds
    services = {item["ServiceName"]: item for item in platform.all("AWS::ECS::Service").values()}
    assert set(services) == {f"lake-{name}-{env}" for name in ("code", "daemon", "webserver")}
    assert {item["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] for item in services.values()} == {
        "DISABLED"
    }
    # Never two daemons at once.
    assert services[f"lake-daemon-{env}"]["DeploymentConfiguration"]["MaximumPercent"] == 100
    assert platform.one("AWS::ElasticLoadBalancingV2::LoadBalancer")["Scheme"] == "internal"
    listener = platform.one("AWS::ElasticLoadBalancingV2::Listener")
    assert (listener["Port"], listener["Protocol"]) == ((443, "HTTPS") if env == "full" else (80, "HTTP"))


def test_the_owner_of_the_database_migrates_before_each_service_begins_and_nothing_else_has_its_password(
    platform: Template,
) -> None:
    works = {f"DATABASE_{name}" for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")}
    for task in platform.all("AWS::ECS::TaskDefinition").values():
        containers = {container["Name"]: container for container in task["ContainerDefinitions"]}
        of = {
            name: {item["Name"]: "DatabaseSecret" in str(item["ValueFrom"]) for item in container["Secrets"]}
            for name, container in containers.items()
        }
        migrating = containers.pop("migrate", None)
        ((name, container),) = containers.items()
        assert of[name] == dict.fromkeys(works, False)
        assert (migrating is None) == (name == "run")
        if migrating is not None:
            owned = dict.fromkeys(("DATABASE_OWNER", "DATABASE_OWNER_PASSWORD"), True)
            assert of["migrate"] == dict.fromkeys(works, False) | owned
            assert (migrating["Command"], migrating["Essential"]) == (["lake", "migrate", "--worker"], False)
            assert container["DependsOn"] == [{"Condition": "SUCCESS", "ContainerName": "migrate"}]


def test_the_ui_is_reached_from_the_network_and_from_nowhere_else(data: Template, env: str) -> None:
    groups = data.all("AWS::EC2::SecurityGroup")
    opened = [rule for group in groups.values() for rule in group.get("SecurityGroupIngress", [])]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in opened] == [(443, 443) if env == "full" else (80, 80)]
    assert [rule["CidrIp"] for rule in opened] == [data.one("AWS::EC2::VPC")["CidrBlock"]]


def test_names_follow_the_convention(data: Template, platform: Template, env: str) -> None:
    named = [
        stack.resolved(resource["Properties"][NAMED[resource["Type"]]])
        for stack in (data, platform)
        for resource in stack.document["Resources"].values()
        if resource["Type"] in NAMED
    ]
    assert len(named) > 40
    assert [name for name in named if not re.fullmatch(rf"lake-[a-z_-]+-{env}(-{ACCOUNT})?", name)] == []


def test_alarms_tell_the_topic_and_the_topic_tells_a_person(platform: Template, env: str) -> None:
    alarms = {item["AlarmName"]: item for item in platform.all("AWS::CloudWatch::Alarm").values()}
    of_datasets = {
        f"lake-{kind}-{dataset}-{env}"
        for kind in ("failures", "backlog", "duration", "stalled")
        for dataset in load_datasets(BUNDLED_DATASETS)
    }
    of_all = {f"lake-{name}-{env}" for name in ("silence", "dead-letters", "database-storage", "database-connections")}
    assert set(alarms) == of_datasets | of_all
    breached = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] == "breaching"}
    assert breached == {f"lake-silence-{env}"}  # what a dead daemon does not say raises no other
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:lake-alerts-{env}"
    assert {action for alarm in alarms.values() for action in alarm["AlarmActions"]} == {topic}
    assert platform.one("AWS::SNS::Subscription")["Protocol"] == "email"
    # CloudWatch may use the key that the topic is encrypted with.
    (key,) = platform.all("AWS::KMS::Key").values()
    users = [item["Principal"].get("Service") for item in key["KeyPolicy"]["Statement"]]
    assert "cloudwatch.amazonaws.com" in users


def test_the_pages_say_of_every_alarm_what_to_do_and_of_no_other(platform: Template, env: str) -> None:
    alarms = {item["AlarmName"] for item in platform.all("AWS::CloudWatch::Alarm").values()}
    kinds = {
        re.sub(rf"-({'|'.join(load_datasets(BUNDLED_DATASETS))})-{env}$", "-{dataset}-{env}", name) for name in alarms
    }
    kinds = {name.replace(f"-{env}", "-{env}").removesuffix("-{env}").removeprefix("lake-") for name in kinds}
    for page, shown in (
        ("operations", r"^\| `lake-(\S+)-\{env\}` \|"),
        ("infrastructure", r"^\| `([a-z-]+(?:-\{dataset\})?)` \|"),
    ):
        section = (ROOT / f"docs/{page}.md").read_text().split("## Alarms\n")[1].split("\n## ")[0]
        assert set(re.findall(shown, section, re.MULTILINE)) == kinds


def test_the_dashboard_shows_what_a_lake_is_asked_about(platform: Template) -> None:
    body = platform.one("AWS::CloudWatch::Dashboard")["DashboardBody"]
    titles = {widget["properties"]["title"] for widget in json.loads(body)["widgets"]}
    for word in ("Backlog", "age", "by state", "Rows", "seconds", "DPU-hours", "Dead letters", "Database", "charges"):
        assert any(word in title for title in titles), word


def test_no_policy_has_a_wildcard_for_actions_and_each_is_short_enough_for_iam(platform: Template) -> None:
    for role in platform.all("AWS::IAM::Role").values():
        statements = platform.policy(role["RoleName"])
        assert not [action for item in statements for action in listed(item["Action"]) if "*" in action]
        assert len(json.dumps(statements, separators=(",", ":"))) < 10_240  # of all inline policies of a role


def test_readers_are_whom_the_context_names(platform: Template, env: str) -> None:
    role = platform.named("AWS::IAM::Role", f"lake-readers-{env}")
    trusted = [
        arn for item in role["AssumeRolePolicyDocument"]["Statement"] for arn in listed(item["Principal"]["AWS"])
    ]
    if env == "full":
        assert sorted(trusted) == [f"arn:aws:iam::111122223333:role/{name}" for name in ("analysts", "training")]
    else:
        assert trusted == [f"arn:aws:iam::{ACCOUNT}:root"]


def test_the_outputs_are_an_environment_that_the_lake_takes(
    platform: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, secret = tmp_path / "outputs.json", tmp_path / "secret.json"
    outputs.write_text(json.dumps(platform.outputs))
    fields = {"username": "lake", "password": "s3cret", "host": "db.example.com", "port": 5432, "dbname": "lake"}
    secret.write_text(json.dumps({"SecretString": json.dumps(fields)}))
    command = [sys.executable, "-m", "infra.environment", str(outputs), "--secret", str(secret)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = dict(line.split("=", 1) for line in done.stdout.splitlines())
    for name in [name for name in os.environ if name.startswith("LAKE_")]:
        monkeypatch.delenv(name)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.database_url == "postgresql://lake:s3cret@db.example.com:5432/lake?sslmode=require"
    assert settings.catalog_kind == "glue"
    assert settings.engine == "glue"
    assert settings.glue_job == platform.one("AWS::Glue::Job")["Name"]
    assert settings.athena_workgroup == platform.one("AWS::Athena::WorkGroup")["Name"]
    databases = [item["DatabaseInput"]["Name"] for item in platform.all("AWS::Glue::Database").values()]
    assert settings.glue_database in databases
    assert settings.event_bus == platform.one("AWS::Events::EventBus")["Name"]


def test_every_setting_is_said_by_the_outputs_or_is_not_of_aws(platform: Template) -> None:
    said = {name.removeprefix("LAKE_").lower() for name in environment(platform.outputs) if name.startswith("LAKE_")}
    assert said - set(Settings.model_fields) == set()
    assert set(Settings.model_fields) - said == set(NOT_OF_AWS)


def test_the_policies_in_the_documentation_are_those_of_the_stacks() -> None:
    page = (ROOT / "docs/aws.md").read_text()
    for example in examples():
        assert f"```json\n{example}```" in page, "python -m infra.examples says what docs/aws.md should"


def test_no_declaration_may_name_a_folder_of_the_platform() -> None:
    folders = Folders.of(load_datasets(BUNDLED_DATASETS).values())
    assert {RAW, "social-media/"} <= set(folders.raw)
    assert set(folders.kept) < set(folders.raw)
    named = (*folders.raw, *folders.archive, *folders.output)
    assert not [prefix for prefix in named if prefix.startswith(OWN)]


def test_what_is_needed_without_the_stacks_starts_no_node() -> None:
    modules = "context, costs, environment, examples, folders, names, policies, synth, variables"
    code = f"import sys; from infra import {modules}; print('aws_cdk' in sys.modules, 'jsii' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_values_of_cdk_json_are_checked() -> None:
    environments = json.loads((ROOT / "cdk.json").read_text())["context"]["environments"]
    assert set(environments) == {"dev", "prod"}
    assert context_of(environments, "prod").protected
    with pytest.raises(ValidationError, match="colour"):
        context_of({"dev": environments["dev"] | {"colour": "red"}}, "dev")
    page = (ROOT / "docs/infrastructure.md").read_text()
    assert [name for name in Context.model_fields if f"| `{name}` |" not in page] == []


def test_the_costs_of_a_month_count_the_tasks_metrics_and_alarms_that_there_are(templates: Path) -> None:
    platform = Template.read(templates / "lake-platform-dev.template.json", REGION)
    alarms = platform.all("AWS::CloudWatch::Alarm").values()
    looked_at = sum(len([each for each in alarm.get("Metrics", [{}]) if "Expression" not in each]) for alarm in alarms)
    datasets = costs.datasets(costs.declared("dev"))
    assert looked_at == costs.ALARM_METRICS * datasets + costs.COMMON_ALARM_METRICS
    assert len(platform.all("AWS::ECS::Service")) == costs.SERVICES
    kept = json.loads((templates / "lake-data-dev.template.json").read_text())["Resources"].values()
    assert [each["Type"] for each in kept].count("AWS::SecretsManager::Secret") == costs.SECRETS
    now = datetime(2026, 2, 1, tzinfo=UTC)
    done = ManifestNews(
        "events", "m", "g", "COMMITTED", 1, 0, 1, 1, None, None, now, now, now, {}, planned=False, ended=True
    )
    put = [*counts_of(done, 1, "glue"), *counts_of(replace(done, state="FAILED"), 1, "glue")]
    put += gauges_of("events", {}, BacklogSummary(0, 0, None), "glue", now)
    assert len({each["MetricName"] for each in put}) == costs.METRICS


def test_the_image_is_pinned_runs_as_nobody_and_copies_what_is_there() -> None:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    steps = [line.split() for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", step[1]) for step in steps if step[0] == "FROM")
    assert [step[1] for step in steps if step[0] == "USER"] == ["lake"]
    last = [step[0] for step in steps]
    assert last.index("USER") < last.index("ENTRYPOINT")
    copied = [
        source
        for step in steps
        if step[0] == "COPY" and not step[1].startswith("--from")
        for source in step[1:-1]
        if not source.startswith("--")
    ]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {
        source for source in copied if not any(source == one or source.startswith(f"{one}/") for one in sent)
    } == set()
    packaged = ("setup.py", "pyproject.toml", "LICENSE", "constraints.txt", "lake_pipeline", "glue_scripts")
    assert set(packaged) <= set(copied)


def test_the_entrypoint_makes_the_urls_of_the_database_and_keeps_no_password_beside_them() -> None:
    fields = {"USER": "lake", "PASSWORD": "s3cret", "HOST": "db.example.com", "PORT": "5432", "NAME": "lake"}
    given = {f"DATABASE_{name}": value for name, value in fields.items()} | {"PATH": os.environ["PATH"]}
    done = subprocess.run([IMAGE / "entrypoint.sh", "env"], env=given, capture_output=True, text=True, check=True)
    said = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert conninfo_to_dict(said["LAKE_DATABASE_URL"]) == {
        "user": "lake",
        "password": "s3cret",
        "host": "db.example.com",
        "port": "5432",
        "dbname": "lake",
        "sslmode": "require",
    }
    assert said["LAKE_DAGSTER_DATABASE_URL"].replace("+psycopg2", "") == said["LAKE_DATABASE_URL"]
    assert "LAKE_MIGRATION_DATABASE_URL" not in said
    owner = {"DATABASE_OWNER": "boss", "DATABASE_OWNER_PASSWORD": "0wn3r"}
    done = subprocess.run(
        [IMAGE / "entrypoint.sh", "env"], env=given | owner, capture_output=True, text=True, check=True
    )
    migrates = dict(line.split("=", 1) for line in done.stdout.splitlines())
    url = said["LAKE_DATABASE_URL"].replace("lake:s3cret@", "boss:0wn3r@")
    assert {name: value for name, value in migrates.items() if said.get(name) != value} == {
        "LAKE_MIGRATION_DATABASE_URL": url
    }
    assert not [name for name in (said | migrates) if name.startswith("DATABASE_")]


def test_dagster_takes_the_launcher_and_the_workspace_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = yaml.safe_load(CONFIG.read_text() + (IMAGE / "run_launcher.yaml").read_text())
    launcher = instance["run_launcher"]
    assert (launcher["module"], launcher["class"]) == ("dagster_aws.ecs", "EcsRunLauncher")
    schema = EcsRunLauncher.config_type()  # type: ignore[no-untyped-call]
    assert process_config(resolve_to_config_type(schema), launcher["config"]).success
    monkeypatch.setenv("DAGSTER_CODE_HOST", "code.lake-dev.internal")
    assert process_workspace_config(yaml.safe_load((IMAGE / "workspace.yaml").read_text())).success
