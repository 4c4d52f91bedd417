"""Named points where a test kills this process, freezes it, or makes the store or the ledger fail.

`LAKE_FAILPOINTS` names points and what happens there, such as `commit.before=kill,archive.moved=store@2`: the second
time that this process comes to `archive.moved`, the store fails. Without the variable a point is one look at a cache.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from functools import cache
from typing import Literal

from lake_pipeline.errors import LedgerError, SettingsError, StoreError

VARIABLE = "LAKE_FAILPOINTS"

Action = Literal["kill", "freeze", "store", "ledger"]
ACTIONS: dict[Action, str] = {
    "kill": "SIGKILL",
    "freeze": "SIGSTOP, until someone sends SIGCONT",
    "store": "StoreError",
    "ledger": "LedgerError",
}

POINTS = {
    # Discovery, planning and requeue
    "discovery.listed": "objects were listed, and none is registered yet",
    "discovery.registering": "objects are registered, in a transaction that is not committed",
    "discovery.registered": "objects are registered, and the listing goes on",
    "discovery.received": "messages of the queue were received, and nothing is registered yet",
    "discovery.told": "what messages told of is registered, and the messages are still in the queue",
    "planning.claiming": "files are claimed, in a transaction that is not committed",
    "planning.claimed": "files are claimed, and the manifest's document is not written",
    "planning.planned": "the manifest's document is written",
    "requeue.changing": "files are pending again, in a transaction that is not committed",
    "requeue.changed": "files are pending again",
    # Import
    "import.importing": "files that are done are in the ledger, in a transaction that is not committed",
    "import.imported": "they are committed, and not written down",
    # Rebuild
    "rebuild.replacing": "the rebuilt rows are in the ledger, in a transaction that is not committed",
    "rebuild.replaced": "they are committed, and the mark in the store is the one before",
    # An attempt, up to its staged rows (the three of staging are reached in the engine's process)
    "attempt.begun": "the manifest is held by this attempt",
    "staging.begun": "the engine begins to convert",
    "staging.written": "rows are staged, and the results are not",
    "staging.ended": "the results are staged",
    "attempt.converted": "the engine has ended",
    # Publish
    "publish.intended": "the outputs' names are in the ledger, and nothing is copied",
    "publish.copied": "a batch of outputs lies under final names",
    "publish.published": "every output lies under its final name",
    # Commit
    "commit.committing": "the ledger has the rows, in a transaction that is not committed",
    "commit.committed": "the manifest is committed, and whoever asked for it does not know",
    "release.copied": "committed files of one raw file each were copied to their names, and the ledger says not so",
    "release.released": "they have their names, and the ledger says so",
    "record.written": "the commit's document is in the store, and the ledger does not know",
    "record.recorded": "the ledger knows, and the mark in the store is not raised",
    "fail.failing": "the attempt has failed, in a transaction that is not committed",
    # Erase
    "erase.recorded": "the request is in the ledger, and nothing is rewritten",
    "erase.staged": "rewritten outputs are staged",
    "erase.copied": "rewritten outputs lie under final names, and the ledger lists the old ones",
    "erase.committing": "the ledger lists the rewritten outputs, in a transaction that is not committed",
    "erase.committed": "the rewritten outputs are the table's, and the old ones lie beside them",
    "erase.cleaned": "the old outputs are deleted",
    "erase.raw_copied": "rewritten raw files lie in the archive, and the ledger names the old ones",
    "erase.raw_rewritten": "the ledger names the rewritten raw files, and the old ones lie beside them",
    "erase.reported": "the report is in the store, and the request is not ended",
    # Show, clean and archive
    "clean.refreshed": "readers are told of the commit",
    "clean.deleted": "files of earlier attempts were deleted, and the ledger still lists them",
    "clean.cleaned": "the ledger has forgotten them",
    "archive.copied": "raw files in S3 were copied into the archive, and not deleted where they landed",
    "archive.moved": "raw files lie in the archive, and the ledger does not know",
    "archive.settling": "the ledger has where they lie and is done with them, in a transaction that is not committed",
    "archive.archived": "the ledger knows where they lie",
}

_reached: Counter[str] = Counter()
_guard = threading.Lock()


def failpoint(point: str) -> None:
    """Do here what LAKE_FAILPOINTS asks for, if it names this point.

    Raises:
        StoreError, LedgerError: it asks for them.
        SettingsError: it cannot be understood.
    """
    armed = _armed()
    if point not in armed:
        return
    action, turn = armed[point]
    with _guard:
        _reached[point] += 1
        now = _reached[point] == turn
    if now:
        _act(action, point)


def _act(action: Action, point: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "store":
            raise StoreError(f"failpoint {point}")
        case "ledger":
            raise LedgerError(f"failpoint {point}")


@cache
def _armed() -> dict[str, tuple[Action, int]]:
    return parse(os.environ.get(VARIABLE, ""))


def parse(text: str) -> dict[str, tuple[Action, int]]:
    """What is to happen at which point, and at which time of coming there, from 1.

    Raises:
        SettingsError: a point or an action is not one of those here, or the text has another form.
    """
    armed: dict[str, tuple[Action, int]] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        point, _, rest = entry.partition("=")
        action, _, turn = rest.partition("@")
        if point not in POINTS or action not in ACTIONS or not (turn or "1").isdigit() or int(turn or "1") < 1:
            raise SettingsError(
                f"{VARIABLE}={text}: {entry} is not POINT=ACTION[@N], with an action of {', '.join(ACTIONS)}"
                f" and a point of {', '.join(POINTS)}"
            )
        armed[point] = (action, int(turn or "1"))
    return armed
