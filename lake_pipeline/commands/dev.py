"""`lake dev`: the Dagster UI and daemon on this lake."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import psutil
import typer

from lake_pipeline.dagster_home import prepare_instance
from lake_pipeline.errors import DevFailed
from lake_pipeline.reports import say
from lake_pipeline.settings import load_settings

# Runs give their manifests back within seconds, and a code server waits for them.
_LEAVE_SECONDS = 60
_LOOK_SECONDS = 0.1


def dev(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3000,
    aws_local: Annotated[
        bool, typer.Option("--aws-local", help="On a lake in S3, with AWS's other services, on this machine.")
    ] = False,
) -> None:
    """Open the Dagster UI and run its daemon on this lake, until Ctrl-C.

    Starts the embedded Postgres if no LAKE_DATABASE_URL is set. Files that land meanwhile are converted.

    With --aws-local the lake is a new one: moto serves S3, SQS, SNS, EventBridge, CloudWatch, Glue and Athena on
    127.0.0.1 with a bucket, queues, a topic, a bus, a catalogue and a job in it, and forgets them at the end. The
    variables for other terminals, the aws command line and boto3 are printed. With LAKE_ENGINE=glue the job
    converts.
    """
    _refuse_taken(host, port)
    with ExitStack() as stack:
        if aws_local:
            _tell(stack.enter_context(_aws_lake(load_settings().home_dir)))
        _serve(host, port)


def _aws_lake(home: Path) -> AbstractContextManager[dict[str, str]]:
    try:
        from lake_pipeline.aws_local.lake import aws_lake  # moto is in an extra
    except ModuleNotFoundError as error:
        raise DevFailed(f"--aws-local needs {error.name}: pip install 'lake-pipeline[aws-local]'") from error
    return aws_lake(home)


def _tell(variables: dict[str, str]) -> None:
    store = variables["LAKE_STORE"]
    say(f"AWS: {variables['AWS_ENDPOINT_URL']}; in other terminals, for lake, boto3 and the aws command line:")
    for name, value in variables.items():
        say(f"  export {name}={shlex.quote(value)}")
    say(f"then: lake demo; aws s3 ls --recursive {store}/")


def _serve(host: str, port: int) -> None:
    prepare_instance(load_settings())
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]  # by a tool for projects, which this is not
    command = [sys.executable, *quiet, "-m", "dagster", "dev", "-m", "lake_pipeline.definitions"]
    say(f"Dagster UI: http://{host}:{port} (ready in some seconds; Ctrl-C ends it)")
    sys.stdout.flush()
    # A session of its own: Ctrl-C reaches this process alone, which then asks the child to end, once.
    child = subprocess.Popen([*command, "--host", host, "--port", str(port)], start_new_session=True)
    told = _pass_signals_on(child)
    code = child.wait()
    _await_session(child.pid)
    if not told:
        raise DevFailed(f"dagster dev ended by itself with exit code {code}")


def _await_session(leader: int) -> None:
    """Wait for what the child has left running, and end it if that takes long.

    A code server ends after its runs have, and asks the database about them: without one it would stay for ever. The
    embedded Postgres stops when nobody of the lake is left, and this process is.
    """
    deadline = time.monotonic() + _LEAVE_SECONDS
    while _goes_on(leader):
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.killpg(leader, signal.SIGKILL)
            return
        time.sleep(_LOOK_SECONDS)


def _goes_on(session: int) -> bool:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _pass_signals_on(child: subprocess.Popen[bytes]) -> list[int]:
    """End the child when this process is told to end; the signals that came are added to the list."""
    told: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        # Dagster is asked to end by SIGINT, whatever came; who asks twice does not want to wait.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL if told else signal.SIGINT)
        told.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return told


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DevFailed(f"{host}:{port} cannot be listened on ({error.strerror}); choose another --port") from error
