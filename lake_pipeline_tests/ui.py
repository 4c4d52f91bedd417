"""`lake dev` as a real process, its GraphQL, and a real browser on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSER = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def eventually(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The condition's first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return answer


@dataclass(frozen=True)
class Dev:
    """A running `lake dev`."""

    url: str

    def graphql(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.loads(response.read())
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def answers(self) -> bool:
        try:
            return bool(self.graphql("{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@contextmanager
def lake_dev(log: Path) -> Iterator[Dev]:
    """`lake dev` on a free port, in this process's environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lake_pipeline.cli", "dev", "--port", str(port)],
            env=os.environ,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        dev = Dev(f"http://127.0.0.1:{port}")
        try:
            eventually(lambda: process.poll() is not None or dev.answers(), 90, "lake dev answers")
            assert process.poll() is None, log.read_text()
            yield dev
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0, log.read_text()


@contextmanager
def browser(width: int = 1500, height: int = 950) -> Iterator[webdriver.Chrome]:
    """Debian's Chromium, headless, with a profile of its own."""
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER or ""
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def page_text(driver: webdriver.Chrome) -> str:
    return str(driver.execute_script("return document.body ? document.body.innerText : ''"))
