"""The audit of the dependencies: what is found fails, what could not be asked is said and does not."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.audit import CONSTRAINTS, IGNORED, audit

VULNERABLE = "duckdb"


class _Service(BaseHTTPRequestHandler):
    """An OSV that knows of one vulnerable package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {
            "id": "PYSEC-2026-1",
            "modified": "2026-01-01T00:00:00Z",
            "summary": "planted",
            "affected": [
                {
                    "package": {"name": VULNERABLE, "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
                }
            ],
        }
        answer = json.dumps({"vulns": [known]} if asked["package"]["name"] == VULNERABLE else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


def constraints(tmp_path: Path, *packages: str) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text("# pinned\n" + "".join(f"{package}\n" for package in packages))
    return path


def test_a_known_vulnerability_fails_and_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with served() as url:
        service = ["--vulnerability-service", "osv", "--osv-url", url]
        assert audit(service, constraints(tmp_path, "polars==2.1.0", f"{VULNERABLE}==2.0.0")) == 1
        assert f"{VULNERABLE} 2.0.0: PYSEC-2026-1, fixed in 99.0" in capfd.readouterr().err
        assert audit(service, constraints(tmp_path, "polars==2.1.0")) == 0
        assert "1 dependencies have no known vulnerability" in capfd.readouterr().out


def test_a_service_that_cannot_be_asked_is_said_aloud_and_fails_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:1/v1/query"]
    assert audit(nowhere, constraints(tmp_path, "polars==2.1.0")) == 0
    assert "WARNING: THE DEPENDENCIES WERE NOT AUDITED" in capfd.readouterr().err


def test_every_pin_can_be_audited_and_every_exception_has_a_reason() -> None:
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", pin) for pin in pins)
    assert all(len(reason) > 20 for reason in IGNORED.values())
