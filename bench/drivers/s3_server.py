"""An S3 to measure clients against: `moto`, or `slow`, whose every answer comes after a stated latency.

    python bench/drivers/s3_server.py slow 0.01

Prints its URL, serves until its standard input ends, then prints how many requests of each kind it answered.
`moto` answers one request at a time, so that it is itself what is measured where clients ask side by side.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from collections import Counter
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from lake_pipeline.aws_local.server import serve

_MODIFIED = "Sat, 21 Nov 2026 00:00:00 GMT"


class SlowS3:
    """Objects in memory: as much of S3 as publishing, archiving and looking at what became of it ask for."""

    def __init__(self, latency: float) -> None:
        self.counts: Counter[str] = Counter()
        self._latency = latency
        self._objects: dict[str, tuple[int, str]] = {}  # size and ETag

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                request, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = request.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                if headers.get("expect"):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await asyncio.sleep(self._latency)
                writer.write(self._respond(method, target, headers, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client hung up
        finally:
            writer.close()

    def _respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        parts = urlsplit(target)
        key = unquote(parts.path)
        if "x-amz-copy-source" in headers:
            self.counts["COPY"] += 1
            self._objects[key] = found = self._objects["/" + unquote(headers["x-amz-copy-source"]).lstrip("/")]
            return _http(200, f"<CopyObjectResult><ETag>&quot;{found[1]}&quot;</ETag></CopyObjectResult>")
        if method == "POST":
            self.counts["DELETE MANY"] += 1
            for name in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                self._objects.pop(f"{key}/{name}", None)
            return _http(200, "<DeleteResult></DeleteResult>")
        self.counts[method] += 1
        if method == "PUT":
            self._objects[key] = (len(body), hashlib.md5(body, usedforsecurity=False).hexdigest())
            return _http(200, etag=self._objects[key][1])
        if method == "DELETE":
            self._objects.pop(key, None)
            return _http(204)
        if method == "GET":
            return self._listing(key, parts.query)
        there = self._objects.get(key)
        return _http(200, etag=there[1], length=there[0]) if there else _http(404)

    def _listing(self, bucket: str, query: str) -> bytes:
        prefix = unquote(re.search(r"(?:^|&)prefix=([^&]*)", query)[1])  # type: ignore[index]
        keys = [key for key in self._objects if key.startswith(f"{bucket}/{prefix}")]
        return _http(200, f"<ListBucketResult><KeyCount>{len(keys)}</KeyCount></ListBucketResult>")


def _http(status: int, text: str = "", *, etag: str = "", length: int | None = None) -> bytes:
    body = text.encode()
    lines = [f"HTTP/1.1 {status} {'OK' if status < 400 else escape('Not Found')}", "Content-Type: application/xml"]
    lines += [f"Content-Length: {len(body) if length is None else length}", f"Last-Modified: {_MODIFIED}"]
    lines += [f'ETag: "{etag}"'] if etag else []
    return "\r\n".join([*lines, "", ""]).encode() + body


async def serve_slowly(latency: float) -> None:
    s3 = SlowS3(latency)
    server = await asyncio.start_server(s3.answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(s3.counts))


def main() -> None:
    kind, latency = sys.argv[1], float(sys.argv[2])
    if kind == "slow":
        asyncio.run(serve_slowly(latency))
        return
    with serve() as url:
        print(url, flush=True)
        sys.stdin.read()
        print("{}")


if __name__ == "__main__":
    main()
