"""A lake on an AWS of its own, on this machine: what `lake dev --aws-local` runs on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lake_pipeline.aws_local.athena import LocalAthena
from lake_pipeline.aws_local.glue_runs import GlueRuns
from lake_pipeline.aws_local.resources import make_lake
from lake_pipeline.aws_local.server import Operation, Wsgi, environment, serve
from lake_pipeline.errors import DevFailed

_NAME = "lake"


@contextmanager
def aws_lake(home: Path) -> Iterator[dict[str, str]]:
    """Serve AWS with a lake's resources; the variables that lead to them, which are this process's from now on.

    AWS forgets everything at the end, so the ledger is a new one each time, in `aws-local` under `home`.

    Raises:
        DevFailed: another process serves the lake under this home.
    """
    folder = home / "aws-local"
    home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=0), served() as url:
            shutil.rmtree(folder, ignore_errors=True)
            aws = environment(url)
            os.environ |= aws
            variables = {**aws, "LAKE_HOME": str(folder), **make_lake(_NAME)}
            os.environ |= variables
            yield variables
    except Timeout:
        raise DevFailed(
            f"another `lake dev --aws-local` serves the lake under {home}; choose another LAKE_HOME"
        ) from None


@contextmanager
def served(
    *, athena_key: str = "local", glue_key: str = "local", around: Callable[[Wsgi], Wsgi] | None = None
) -> Iterator[str]:
    """AWS with operations of ours, by the protocol's target, in place of what moto only records; its URL.

    What Athena does for who asks, and what a job's run does, is done with these access keys; `around` is `serve`'s.
    """
    athena, glue = LocalAthena(access_key=athena_key), GlueRuns(access_key=glue_key)
    operations: dict[str, Operation] = {**athena.operations, **glue.operations}
    with serve(operations, around) as url, athena.serving(url), glue.serving(url):
        yield url
