"""`lake dev` as a process: it serves, and leaves nothing behind."""

from __future__ import annotations

import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from lake_pipeline_tests.command_line import lake_command
from lake_pipeline_tests.lakes import EVENTS


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


def test_a_port_that_is_taken_is_one_error(tmp_path: Path, database_url: str) -> None:
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        refused = lake("dev", "--port", str(other.getsockname()[1]), expect=1)

    assert refused.stderr.startswith("error: The Dagster UI and daemon do not run: 127.0.0.1:")
    assert "choose another --port" in refused.stderr
