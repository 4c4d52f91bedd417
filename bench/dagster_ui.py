"""`lake dev` as a process, and the queries that its pages ask."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

_CURATED = 'assetNodeOrError(assetKey: {path: ["events", "curated"]})'
_REPOSITORY = 'repositoryName: "__repository__", repositoryLocationName: "lake_pipeline.definitions"'
# What each page of the UI waits for, cut down to what grows with manifests and runs.
PAGES = {
    "asset graph": "{ assetNodes { assetKey { path } isPartitioned staleStatus"
    " partitionStats { numMaterialized numFailed numMaterializing numPartitions } } }",
    "asset": f"{{ {_CURATED} {{ ... on AssetNode {{ staleStatus"
    " assetMaterializations(limit: 100) { partition runId timestamp metadataEntries { label } } } } }",
    "partitions": f"{{ {_CURATED} {{ ... on AssetNode {{"
    " partitionKeysByDimension { name partitionKeys } assetPartitionStatuses { ... on DefaultPartitionStatuses"
    " { materializedPartitions failedPartitions materializingPartitions unmaterializedPartitions } } } } }",
    "runs": "{ runsOrError(limit: 25) { ... on Runs { results { id status tags { key value } startTime endTime } } } }",
    "backfills": "{ partitionBackfillsOrError(limit: 25) { ... on PartitionBackfills"
    " { results { id status numPartitions } } } }",
    "sensors": f"{{ sensorsOrError(repositorySelector: {{{_REPOSITORY}}}) {{ ... on Sensors {{"
    " results { name sensorState { status ticks(limit: 10) { status timestamp endTimestamp } } } } } }",
}
# The page of one sensor; in the list of all, Dagster shows no tick once the code location was started anew.
_SENSOR = f"""query Sensor($name: String!) {{ sensorOrError(sensorSelector: {{sensorName: $name, {_REPOSITORY}}}) {{
    ... on Sensor {{ sensorState {{ ticks(limit: 10) {{ timestamp endTimestamp }} }} }} }} }}"""
_LAUNCH = """mutation Launch($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_BACKFILL = """query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status error { message } } } }"""


@dataclass(frozen=True)
class Dev:
    """A running `lake dev`."""

    url: str
    process: psutil.Process

    def ask(self, query: str, **variables: Any) -> Any:
        """GraphQL's answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as response:
            answer = json.loads(response.read())
        if "errors" in answer:
            raise RuntimeError(str(answer["errors"]))
        return answer["data"]

    def pages(self) -> dict[str, float]:
        """Seconds of each page."""
        return {name: _seconds(partial(self.ask, query)) for name, query in PAGES.items()}

    def ticks(self, name: str) -> list[float]:
        """Seconds of a sensor's last ticks."""
        ticks = self.ask(_SENSOR, name=name)["sensorOrError"]["sensorState"]["ticks"]
        return [tick["endTimestamp"] - tick["timestamp"] for tick in ticks if tick["endTimestamp"]]

    def launch(self, partitions: list[str]) -> str:
        """The id of a backfill of all three assets."""
        params = {
            "partitionNames": partitions,
            "assetSelection": [{"path": ["events", stage]} for stage in ("raw", "curated", "table")],
        }
        answer = self.ask(_LAUNCH, params=params)["launchPartitionBackfill"]
        if "backfillId" not in answer:
            raise RuntimeError(str(answer))
        return str(answer["backfillId"])

    def has_ended(self, backfill: str) -> bool:
        """Whether a backfill has come to its end."""
        found = self.ask(_BACKFILL, id=backfill)["partitionBackfillOrError"]
        if found["status"] in ("FAILED", "COMPLETED_FAILED", "CANCELED"):
            raise RuntimeError(str(found))
        return str(found["status"]) == "COMPLETED_SUCCESS"

    def cpu_seconds(self) -> float:
        """CPU seconds of its processes, of those that they have waited for too."""
        total = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
        return total


@contextmanager
def lake_dev(log: Path) -> Iterator[Dev]:
    """`lake dev` on a free port, in this process's environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lake_pipeline.cli", "dev", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ, stdout=output, stderr=subprocess.STDOUT)
    dev = Dev(f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    try:
        while not _answers(dev):
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.2)
        yield dev
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def _answers(dev: Dev) -> bool:
    try:
        return bool(dev.ask("{ assetNodes { id } }")["assetNodes"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _seconds(act: Callable[[], object]) -> float:
    since = time.perf_counter()
    act()
    return round(time.perf_counter() - since, 3)
