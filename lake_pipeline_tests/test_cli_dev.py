"""`lake dev` as a process: it serves, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import psutil
import yaml

from lake_pipeline_tests.command_line import LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS
from lake_pipeline_tests.ui import eventually


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_dev_serves_the_ui_until_ctrl_c(tmp_path: Path, database_url: str) -> None:
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    port = free_port()
    process = lake.start("dev", "--port", str(port))
    assert process.stdout is not None
    assert f"http://127.0.0.1:{port}" in process.stdout.readline()
    deadline = time.monotonic() + 90
    while not answers(f"http://127.0.0.1:{port}"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family

    process.send_signal(signal.SIGINT)

    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert psutil.wait_procs(family, timeout=20)[1] == []


def test_nothing_outlives_dev_that_is_told_to_end_while_runs_go_on(short_dir: Path) -> None:
    """On the embedded Postgres, without which Dagster's code server would wait for its runs for ever."""
    declaration = EVENTS | {"batch": {"max_wait": 0, "max_files": 1, "run_manifests": 1}}
    (short_dir / "events.yaml").write_text(yaml.safe_dump(declaration))
    lake = LakeCommand(short_dir / "home", {"LAKE_DATASETS": str(short_dir)})
    for week in range(10, 15):
        lake.land(f"raw/2026/week{week}/a.json", {"id": f"e{week}", "DATE": "2026-02-01", "MODE": "bike"})
    process = lake.start("dev", "--port", str(free_port()))
    assert process.stdout is not None
    assert "Dagster UI:" in process.stdout.readline()
    (session,) = eventually(lambda: [item.pid for item in dagster_of(process.pid)], 30, "dagster dev")
    eventually(lambda: len(running(session, "spawn_main")) >= 2, 120, "two runs")

    process.send_signal(signal.SIGINT)

    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert running(session) == []
    assert not (lake.home / "postgres/postmaster.pid").exists()
    lake("run")
    assert lake.json_lines("query", "select count(*) as n, count(distinct id) as ids from events") == [
        {"n": 5, "ids": 5}
    ]


def dagster_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "dagster" in command_of(child)]


def running(session: int, argument: str = "") -> list[psutil.Process]:
    """Processes of a session that have not ended, with this in their command line."""
    return [item for item in psutil.process_iter() if session_of(item) == session and argument in command_of(item)]


def command_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def session_of(process: psutil.Process) -> int | None:
    with suppress(psutil.Error, OSError):
        return os.getsid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    return None


def test_dev_on_a_local_aws_prints_the_variables_with_which_others_meet_it(tmp_path: Path, database_url: str) -> None:
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    port = free_port()
    process = lake.start("dev", "--aws-local", "--port", str(port))
    assert process.stdout is not None
    variables = dict[str, str]()
    while "Dagster UI:" not in (line := process.stdout.readline()):
        assert process.poll() is None
        if line.startswith("  export "):
            name, _, value = line.removeprefix("  export ").strip().partition("=")
            variables[name] = value
    other = LakeCommand(tmp_path / "home", {**lake.variables, **variables})
    endpoint = boto3.session.Session(
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name=variables["AWS_DEFAULT_REGION"]
    )

    def meet(service: str) -> Any:
        return endpoint.client(service, endpoint_url=variables["AWS_ENDPOINT_URL"])

    meet("s3").put_object(Bucket="lake", Key="lake/raw/a.json", Body=b'{"id":"e1","DATE":"2026-02-01","MODE":"bike"}\n')
    told = meet("sqs").receive_message(QueueUrl=variables["LAKE_EVENTS_QUEUE"], MaxNumberOfMessages=10)["Messages"]
    assert any("a.json" in message["Body"] for message in told)
    other("run")
    assert other.json_lines("query", "select id from events") == [{"id": "e1"}]
    meet("s3").put_object(Bucket="lake", Key="lake/raw/b.json", Body=b'{"id":"e2","DATE":"2026-02-01","MODE":"bike"}\n')
    on_glue = {"LAKE_ENGINE": "glue", "LAKE_GLUE_SPARK": "false", "LAKE_GLUE_POLL_SECONDS": "0.2"}
    LakeCommand(other.home, {**other.variables, **on_glue})("run")
    assert other.json_lines("query", "select id from events order by id") == [{"id": "e1"}, {"id": "e2"}]
    runs = meet("glue").get_job_runs(JobName=variables["LAKE_GLUE_JOB"])["JobRuns"]
    assert [found["JobRunState"] for found in runs] == ["SUCCEEDED"]
    assert meet("glue").get_database(Name=variables["LAKE_GLUE_DATABASE"])["Database"]["Name"] == "lake"
    assert (
        "another `lake dev --aws-local` serves"
        in lake("dev", "--aws-local", "--port", str(free_port()), expect=1).stderr
    )

    process.send_signal(signal.SIGINT)

    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "HTTP/1.1" not in errors, "the server's requests are not shown"


def test_dev_on_a_local_aws_says_what_to_install_where_moto_is_missing(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "moto.py").write_text("raise ModuleNotFoundError('no moto', name='moto')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    lake = LakeCommand(tmp_path / "home", {"LAKE_DATABASE_URL": database_url, "PYTHONPATH": path})

    refused = lake("dev", "--aws-local", "--port", str(free_port()), expect=1).stderr

    assert "--aws-local needs moto: pip install 'lake-pipeline[aws-local]'" in refused


def test_a_port_that_is_taken_is_one_error(tmp_path: Path, database_url: str) -> None:
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        refused = lake("dev", "--port", str(other.getsockname()[1]), expect=1)

    assert refused.stderr.startswith("error: The Dagster UI and daemon do not run: 127.0.0.1:")
    assert "choose another --port" in refused.stderr
