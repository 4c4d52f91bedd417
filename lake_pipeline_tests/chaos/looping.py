"""A worker process: `loop` runs passes like `lake run`'s, one after the other; `daemon` becomes Dagster's daemon.

The daemon starts the code server, which launches runs as processes of their own.
"""

from __future__ import annotations

import os
import sys
import time
import traceback

from lake_pipeline.dagster_home import prepare_instance
from lake_pipeline.defs.running import run_datasets
from lake_pipeline.errors import LakeError
from lake_pipeline.lake import open_lake
from lake_pipeline.settings import load_settings

_PAUSE_SECONDS = 0.5


def loop() -> None:
    while True:
        try:
            with open_lake(load_settings()) as lake:
                run_datasets(lake, list(lake.datasets.values()), lambda _: None)
        except LakeError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        except Exception:  # what Dagster says where its database is gone
            traceback.print_exc()
        time.sleep(_PAUSE_SECONDS)


def daemon() -> None:
    prepare_instance(load_settings())
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "lake_pipeline.definitions"]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    {"loop": loop, "daemon": daemon}[sys.argv[1]]()
