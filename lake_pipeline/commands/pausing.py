"""`lake pause` and `lake resume`: nothing more is begun, for maintenance or because a budget is spent."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import asdict
from typing import Annotated

import typer

from lake_pipeline.commands.options import DatasetNames, Json
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.reports import note, print_json, say
from lake_pipeline.settings import load_settings

_LOOK_AGAIN_SECONDS = 2


def pause(
    datasets: DatasetNames = None,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever finds it paused.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when nothing is under way any more.")] = False,
    json: Json = False,
) -> None:
    """Begin no manifest any more, in whatever process, until lake resume.

    What is under way goes on to its end; --wait waits for it. What lands is registered and waits. Runs of Dagster that
    were queued before fail with that reason, which counts as no attempt, and are asked for again after lake resume.
    Requests to erase, requeue, audit and readers are not stopped.

    JSON: paused, a list with dataset, since, paused_by and reason; and running, manifests under way by dataset.
    """
    with open_lake(load_settings()) as lake:
        names = [dataset.name for dataset in lake.chosen(datasets)]
        lake.ledger.pause(names, f"{_user()}@{socket.gethostname()}", reason)
        told = -1
        while (running := sum(_running(lake, names).values())) and wait:
            if running != told:
                note(f"waiting for {running:,} manifests")
                told = running
            time.sleep(_LOOK_AGAIN_SECONDS)
        pauses = [each for name, each in lake.ledger.pauses().items() if name in names]
        if json:
            print_json({"paused": [asdict(each) for each in pauses], "running": _running(lake, names)})
            return
        for each in pauses:
            say(str(each))
        say(f"{running:,} manifests are under way" if running else "nothing is under way")


def resume(datasets: DatasetNames = None, json: Json = False) -> None:
    """Let manifests be begun again, of these datasets or of all.

    JSON: resumed, how many were paused.
    """
    with open_lake(load_settings()) as lake:
        # A dataset whose declaration is gone may be paused still.
        names = [dataset.name for dataset in lake.chosen(datasets)] if datasets else list(lake.ledger.pauses())
        resumed = lake.ledger.resume(names)
    if json:
        print_json({"resumed": resumed})
    else:
        say(f"{resumed} resumed" if resumed else "nothing was paused")


def _running(lake: Lake, names: list[str]) -> dict[str, int]:
    found = {name: len(lake.ledger.held_manifests(name)) for name in names}
    return {name: count for name, count in found.items() if count}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
