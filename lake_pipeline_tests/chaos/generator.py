"""Whoever lands files: new ones, the same again, the same elsewhere, bad ones, and others under known keys."""

from __future__ import annotations

import gzip
import io
import json
import random
import threading

import pyarrow as pa
import pyarrow.parquet as pq

from lake_pipeline_tests.chaos.journal import Journal, Landing, Record, digest
from lake_pipeline_tests.chaos.objects import Objects

EVENTS, COPIES = "events", "copies"
PREFIXES = {EVENTS: "raw/", COPIES: "raw-copies/"}

# Shares of the landings; what is left is new keys with new records.
SAME_KEY = 0.10
OTHER_KEY = 0.10
BAD = 0.02
OVERWRITTEN = 0.07
MENDED = 0.02
# Of the bad ones, so many land under a key that had a good version.
_SPOILED = 0.3
# Of the overwritten keys, so many are among the last few, which are being converted or waiting.
_RECENT, _LAST = 0.7, 12


class Generator(threading.Thread):
    """Lands files under keys of its own until it is told to stop, as its own stream of decisions says."""

    def __init__(self, name: str, seed: str, journal: Journal, objects: Objects, pause: float) -> None:
        super().__init__(name=f"generator-{name}", daemon=True)
        self.failure: BaseException | None = None
        self._id, self._journal, self._objects, self._pause = name, journal, objects, pause
        self._random = random.Random(f"{seed}/generator/{name}")
        self._last: dict[tuple[str, str], tuple[Landing, bytes]] = {}
        self._made = 0
        self._done = threading.Event()

    def stop(self) -> None:
        self._done.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def run(self) -> None:
        try:
            while not self._done.wait(self._random.uniform(0.2, 1.8) * self._pause):
                self.step()
        except BaseException as error:
            self.failure = error

    def step(self) -> None:
        """Land one file."""
        dataset = COPIES if self._random.random() < 0.15 else EVENTS
        mine = [landed for landed, _ in self._last.values() if landed.dataset == dataset]
        bad = [landed for landed in mine if landed.bad]
        lot = self._random.random()
        for kind, share in (("same key", SAME_KEY), ("other key", OTHER_KEY), ("overwritten", OVERWRITTEN)):
            if lot < share and mine:
                return self._again(kind, self._choose(mine))
            lot -= share
        if lot < MENDED and bad:
            found = self._random.choice(bad)
            return self._write("mended", dataset, found.key, self._records())
        if lot < MENDED + BAD:
            return self._spoil(dataset, mine)
        return self._write("new", dataset, self._key(dataset), self._records())

    def _choose(self, mine: list[Landing]) -> Landing:
        return self._random.choice(mine[-_LAST:] if self._random.random() < _RECENT else mine)

    def _again(self, kind: str, found: Landing) -> None:
        if kind == "overwritten":
            return self._write(kind, found.dataset, found.key, self._records())
        data = self._last[found.dataset, found.key][1]
        key = found.key if kind == "same key" else self._key(found.dataset, found.key)
        return self._land(kind, found.dataset, key, data, found.records, bad=found.bad)

    def _write(self, kind: str, dataset: str, key: str, records: list[Record]) -> None:
        self._land(kind, dataset, key, _encoded(key, records), tuple(records), bad=False)

    def _spoil(self, dataset: str, mine: list[Landing]) -> None:
        known = self._random.random() < _SPOILED and mine
        key = self._choose(mine).key if known else self._key(dataset)
        whole = _encoded(key, self._records())
        broken = b"" if self._random.random() < 0.3 else whole[: len(whole) // 2]
        if key.endswith(".json") and broken:
            broken = b'{"id": "broken", \n'
        self._land("spoiled" if known else "bad", dataset, key, broken, (), bad=True)

    def _land(self, kind: str, dataset: str, key: str, data: bytes, records: tuple[Record, ...], *, bad: bool) -> None:
        before = self._last.pop((dataset, key), None)
        version = before[0].version + 1 if before else 1
        landing = Landing(dataset, key, version, kind, bad, records, digest(data), len(data))
        self._journal.land(landing)
        self._last[dataset, key] = landing, data
        self._objects.put(key, data)

    def _key(self, dataset: str, like: str | None = None) -> str:
        self._made += 1
        suffix = ".parquet" if dataset == COPIES else self._random.choice((".json", ".json.gz"))
        if like is not None:  # the same bytes need the same suffix
            suffix = like[like.index(".") :]
        return f"{PREFIXES[dataset]}2026/week{self._random.randint(7, 8):02d}/{self._id}{self._made:05d}{suffix}"

    def _records(self) -> list[Record]:
        self._made += 1
        return [
            {
                "id": f"{self._id}{self._made:05d}.{number}",
                "DATE": f"2026-02-{self._random.randint(1, 2):02d}",
                "MODE": self._random.choice(("bike", "car")),
                "n": self._random.randint(-(2**40), 2**40),
                "text": self._random.choice(("", "plain", "ümläut 🚲", 'quo"te\\')),
            }
            for number in range(self._random.randint(1, 6))
        ]


def _encoded(key: str, records: list[Record]) -> bytes:
    if key.endswith(".parquet"):
        written = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records), written)
        return written.getvalue()
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    return gzip.compress(lines, mtime=0) if key.endswith(".gz") else lines
