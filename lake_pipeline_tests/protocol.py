"""The ledger's protocol as hypothesis walks through it: what a user, workers and dead workers may do in any order.

The model beside the ledger is small: which content lies under each key, which landed last, who holds a manifest, and
which versions' rows each commit put into the lake. A version's ETag is its content's name, as in S3, so that the same
content may land again; `bad` content cannot be read.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lake_pipeline.errors import LeaseLost, LedgerError, NothingMatched
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import (
    FileOutcome,
    FileRow,
    FileStatus,
    ListedObject,
    ManifestRow,
    OutputFile,
    Replacement,
    Withdrawal,
)
from lake_pipeline.manifests import ManifestFile
from lake_pipeline.store import StoredObject
from lake_pipeline.versions import judged_by_store

GROUP = "2026/week07"
LANDED = datetime(2026, 2, 1, tzinfo=UTC)
LEASE = timedelta(minutes=5)
SIZE = 10
# A replay whose file is gone fails for ever; everything else is done long before.
ROUNDS = 12


@dataclass(frozen=True)
class Draw:
    """What a step may need to be told; `flag` is set one time in three."""

    key: str
    content: str
    pick: int
    flag: bool

    @property
    def spoiled(self) -> str | None:
        return self.key if self.flag else None


KEYS = ("a", "b")
CONTENTS = ("good-1", "good-2", "good-3", "bad-1")
draws = st.builds(
    Draw,
    key=st.sampled_from(KEYS),
    content=st.sampled_from(CONTENTS),
    pick=st.integers(0, 59),
    flag=st.sampled_from((False, False, True)),
)

Version = tuple[str, str]


@dataclass
class Attempt:
    """An attempt as its worker sees it; `holds` is what the ledger must think."""

    manifest_id: str
    number: int
    worker: str
    files: list[ManifestFile]
    leased: bool
    holds: bool = True


class Protocol(RuleBasedStateMachine):
    """One dataset of its own in `ledger`, with a past: hypothesis's own walks seldom leave the simple.

    The past is so many `steps` as a `seed` says.
    """

    ledger: Ledger
    seed: int
    steps = 60

    @initialize()
    def begin_anew(self) -> None:
        self.dataset = f"d{uuid.uuid4().hex[:12]}"
        self.minutes = itertools.count()
        self.names = itertools.count(1)
        self.objects: dict[str, StoredObject] = {}
        self.last: dict[str, str | None] = {}
        self.listings: list[dict[str, StoredObject]] = []
        self.attempts: list[Attempt] = []
        self.numbers: Counter[str] = Counter()
        self.manifests: list[str] = []
        self.lake: dict[str, set[Version]] = {}
        self.deleted: set[str] = set()
        self.pruned: set[str] = set()

        note(f"the past of seed {self.seed}")
        past = random.Random(self.seed)
        for _ in range(self.steps):
            content = past.choice(CONTENTS)
            self.walk(past.choice(WEIGHTED), Draw(past.choice(KEYS), content, past.randrange(60), past.random() < 0.3))
            self.a_key_has_rows_of_one_version_at_most()
            self.what_has_succeeded_is_in_the_lake_and_what_a_commit_lists_has_succeeded()
            self.what_is_processed_is_in_one_live_manifest()
            self.a_manifest_runs_where_an_attempt_holds_it_and_numbers_only_rise()

    @rule(step=st.deferred(lambda: st.sampled_from(list(STEPS))), draw=draws)
    def walk(self, step: str, draw: Draw) -> None:
        note(f"{step} {draw}")
        STEPS[step][1](self, draw)

    # ---- the store

    def land(self, key: str, content: str) -> None:
        if key not in self.pruned:  # a key is remembered for longer than it is used
            landed = LANDED + timedelta(minutes=next(self.minutes))
            self.objects[key] = StoredObject(key, SIZE, content, landed)
            self.last[key] = content

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self.last[key] = None
            self.deleted.add(key)

    # ---- discovery

    def list_objects(self) -> None:
        self.listings = [*self.listings[-2:], dict(self.objects)]

    def register_what_was_listed(self, pick: int) -> None:
        self._register(self.listings[pick % len(self.listings)])

    def discover(self) -> None:
        self._register(self.objects)

    def land_and_discover(self, key: str, content: str) -> None:
        self.land(key, content)
        self.discover()

    def hear_of_an_object(self, key: str) -> None:
        self._register({key: self.objects[key]} if key in self.objects else {})

    def hear_of_a_deletion(self, key: str) -> None:
        waiting = self.ledger.unconverted(self.dataset, [key])
        if key not in self.objects and waiting:
            self.ledger.supersede_deleted(self.dataset, list(waiting), "deleted")

    def _register(self, objects: dict[str, StoredObject]) -> None:
        found = [
            ListedObject(item.key, item.size, item.etag, item.last_modified, GROUP)
            for item in objects.values()
            if item.key not in self.pruned
        ]
        self.ledger.register(self.dataset, found, etag_now=self._etag_now)
        current = [row for row in self._files() if row.status != "SUPERSEDED"]
        newest = {row.s3_key: row for row in current}  # they come by key and id
        for row in current:
            there = self.objects.get(row.s3_key)
            if there is not None and (row.etag, row.last_modified) == (there.etag, there.last_modified):
                # Whatever was seen before it landed is not taken for newer.
                assert row == newest[row.s3_key]

    def _etag_now(self, key: str) -> str | None:
        return self.objects[key].etag if key in self.objects else None

    # ---- planning

    def claim(self, most: int) -> None:
        manifest = self.ledger.claim_manifest(self.dataset, GROUP, most, 10**9)
        if manifest is not None:
            assert manifest.manifest_id not in self.manifests
            self.manifests.append(manifest.manifest_id)

    def revive(self) -> None:
        self.ledger.revive_failed(self.dataset, 10**6, timedelta(0))

    def withdraw_what_is_gone(self) -> None:
        for manifest_id in self.manifests:
            if self.ledger.withdraw(self.dataset, manifest_id, self._judge):
                assert self._holder(manifest_id) is None

    # ---- attempts

    def begin(self, pick: int, same_worker: bool, lease: timedelta = LEASE) -> None:
        manifest_id = self.manifests[pick % len(self.manifests)]
        holder = self._holder(manifest_id)
        worker = holder.worker if holder is not None and same_worker else f"worker {next(self.names)}"
        if holder is not None and holder.leased and holder.worker != worker:
            with pytest.raises(LeaseLost):
                self.ledger.begin_attempt(self.dataset, manifest_id, worker, lease)
        elif self._is_pruned(manifest_id):
            with pytest.raises(LedgerError, match="pruned"):
                self.ledger.begin_attempt(self.dataset, manifest_id, worker, lease)
        else:
            self._begin(manifest_id, worker, lease)

    def _begin(self, manifest_id: str, worker: str, lease: timedelta) -> Attempt:
        holder = self._holder(manifest_id)
        number = self.ledger.begin_attempt(self.dataset, manifest_id, worker, lease)
        if holder is not None:
            holder.holds = False
        assert number == self.numbers[manifest_id] + 1
        self.numbers[manifest_id] = number
        files = self.ledger.manifest_files(self.dataset, manifest_id)
        attempt = Attempt(manifest_id, number, worker, files, leased=bool(lease))
        self.attempts.append(attempt)
        return attempt

    def claim_and_begin(self) -> None:
        self.claim(most=3)
        self._lapse()
        for due in self.ledger.due_manifests(self.dataset, 1, 10**6):
            if not self._is_pruned(due.manifest_id):
                self._begin(due.manifest_id, f"worker {next(self.names)}", LEASE)

    def commit_one_that_holds(self, pick: int) -> None:
        if holding := [attempt for attempt in self.attempts if attempt.holds]:
            self._end(holding[pick % len(holding)])

    def heartbeat(self, pick: int) -> None:
        attempt = self._attempt(pick)
        with _allowed(attempt.holds):
            self.ledger.heartbeat(self.dataset, attempt.manifest_id, attempt.number, LEASE)
            attempt.leased = True

    def die_and_be_reaped(self, pick: int) -> None:
        worker = self._attempt(pick).worker
        over = [item for item in self.attempts if item.holds and (item.worker == worker or not item.leased)]
        assert self.ledger.reap(self.dataset, lambda name: name == worker) == len(over)
        for attempt in over:
            attempt.holds = False

    def publish(self, pick: int) -> None:
        attempt = self._attempt(pick)
        with _allowed(attempt.holds):
            self.ledger.check_attempt(self.dataset, attempt.manifest_id, attempt.number)
            self.ledger.intend_outputs(self.dataset, attempt.manifest_id, attempt.number, [_output(attempt)])

    def commit(self, pick: int, spoiled: str | None) -> None:
        attempt = self._attempt(pick)
        if attempt.holds:
            self._end(attempt, spoiled)
            return
        files = [FileOutcome(file.id, "SUCCEEDED", 1, 1) for file in attempt.files]
        # Whose attempt ended as COMMITTED may ask again, as whoever lost the answer does; it changes nothing.
        before = self._files(), self._manifests()
        with _allowed(self._state(attempt.manifest_id) == "COMMITTED" and self._newest(attempt)):
            self._commit(attempt, files)
        assert (self._files(), self._manifests()) == before

    def fail(self, pick: int) -> None:
        attempt = self._attempt(pick)
        row = self.ledger.manifest(self.dataset, attempt.manifest_id)
        # Whoever lost the answer may say so again.
        has_failed = (row.state, row.attempt) == ("FAILED", attempt.number)
        with _allowed(attempt.holds or has_failed):
            self.ledger.fail_attempt(self.dataset, attempt.manifest_id, attempt.number, "no memory")
            attempt.holds = False

    def _end(self, attempt: Attempt, spoiled: str | None = None) -> None:
        """What an attempt comes to whose files are read now; of `spoiled` the store does not give the file."""
        outcomes = {file.id: self._outcome(file, file.key == spoiled) for file in attempt.files}
        unread = {id_: outcome for id_, outcome in outcomes.items() if outcome.status != "SUCCEEDED"}

        def judge(version: Replacement) -> Withdrawal | None:
            if (outcome := unread.get(version.id)) is None:
                return None
            if outcome.status == "QUARANTINED":
                return Withdrawal(version.id, "QUARANTINED", "Unreadable", "bad")
            return self._judge(version)

        this = self.dataset, attempt.manifest_id
        attempt.holds = False
        if unread and attempt.manifest_id in self.lake:
            if not self.ledger.withdraw(*this, judge, attempt=attempt.number):
                self.ledger.fail_attempt(*this, attempt.number, "a replay must read every file")
            return
        self._commit(attempt, list(outcomes.values()))
        self.lake[attempt.manifest_id] = {
            (file.key, file.etag) for file in attempt.files if outcomes[file.id].status == "SUCCEEDED"
        }

    def _commit(self, attempt: Attempt, files: list[FileOutcome]) -> None:
        outputs = [_output(attempt)] if any(file.status == "SUCCEEDED" for file in files) else []
        self.ledger.commit_manifest(self.dataset, attempt.manifest_id, attempt.number, files=files, outputs=outputs)

    def _outcome(self, file: ManifestFile, spoiled: bool) -> FileOutcome:
        if spoiled or (file.location == file.key and self._etag_now(file.key) != file.etag):
            return FileOutcome(file.id, "FAILED", error_class="ObjectChanged", error_message="gone")
        if file.etag.startswith("bad"):
            return FileOutcome(file.id, "QUARANTINED", error_class="Unreadable", error_message="bad")
        return FileOutcome(file.id, "SUCCEEDED", rows_read=1, rows_written=1)

    def _judge(self, version: Replacement) -> Withdrawal | None:
        there = self.objects.get(version.key)
        if version.location != version.key:  # in the archive, where nothing is deleted
            there = StoredObject(version.location, version.size, version.etag, LANDED)
        return judged_by_store(version, there)

    # ---- doing it again, and afterwards

    def requeue_a_key(self, key: str) -> None:
        self._requeue(key=key)

    def requeue_a_status(self, status: FileStatus) -> None:
        self._requeue(status=status)

    def requeue_a_manifest(self, pick: int) -> None:
        self._requeue(manifest=self.manifests[pick % len(self.manifests)])

    def _requeue(self, **selector: Any) -> None:
        self._lapse()
        running = any(attempt.holds for attempt in self.attempts)
        with suppress(NothingMatched, *([LedgerError] if running else [])):
            self.ledger.requeue(self.dataset, **selector)

    def archive(self) -> None:
        moved = []
        for file in self.ledger.files_to_archive(self.dataset):
            if file.location == file.key and self._etag_now(file.key) == file.etag:
                del self.objects[file.key]
            elif file.location == file.key:
                continue
            folder = "quarantine/" if file.status == "QUARANTINED" else "archive/"
            moved.append((file.id, f"{folder}{file.key}~{file.etag}"))
        self.ledger.record_archived(self.dataset, moved)

    def prune(self) -> None:
        before = self._succeeded()
        self.ledger.prune_files(self.dataset, timedelta(0))
        self.pruned |= before - self._succeeded()

    # ---- what must hold after each step

    @invariant()
    def a_key_has_rows_of_one_version_at_most(self) -> None:
        versions = Counter(key for held in self.lake.values() for key, _ in held)
        assert [key for key, count in versions.items() if count > 1] == []

    @invariant()
    def what_has_succeeded_is_in_the_lake_and_what_a_commit_lists_has_succeeded(self) -> None:
        succeeded: dict[str, set[Version]] = {}
        for row in self._files():
            if row.status == "SUCCEEDED":
                succeeded.setdefault(row.manifest_id or "", set()).add((row.s3_key, row.etag))
        for manifest_id, versions in succeeded.items():
            assert versions <= self.lake.get(manifest_id, set())
        for manifest in self._manifests():
            if manifest.state == "COMMITTED":
                held = {version for version in self.lake[manifest.manifest_id] if version[0] not in self.pruned}
                assert succeeded.get(manifest.manifest_id, set()) == held

    @invariant()
    def what_is_processed_is_in_one_live_manifest(self) -> None:
        live = {row.manifest_id for row in self._manifests() if row.state in ("PLANNED", "RUNNING")}
        processed = [row for row in self._files() if row.status == "PROCESSING"]
        assert [row.s3_key for row in processed if row.manifest_id not in live] == []
        assert max(Counter(row.s3_key for row in processed).values(), default=0) <= 1

    @invariant()
    def a_manifest_runs_where_an_attempt_holds_it_and_numbers_only_rise(self) -> None:
        for manifest in self._manifests():
            holder = self._holder(manifest.manifest_id)
            assert (manifest.state == "RUNNING") == (holder is not None)
            assert (manifest.lease_expires_at is not None) == (holder is not None)
            assert manifest.attempt == self.numbers[manifest.manifest_id]

    def teardown(self) -> None:
        """Left to itself, everything comes to its end: the version that landed last is the one in the lake."""
        for attempt in self.attempts:
            attempt.holds = False
        self.ledger.reap(self.dataset, lambda _: True)
        for _ in range(ROUNDS):
            self._pass()
        # An output is said to hold one row, of however many files.
        assert {found.invariant for found in self.ledger.invariant_violations(self.dataset)} <= {"rows_differ"}
        rows = self._files()
        stuck = {row.manifest_id for row in self._manifests() if row.state != "COMMITTED"}
        # A replay of rows whose raw file was deleted or overwritten before it was archived cannot be; that is all.
        unarchived = [row for row in rows if row.archived_key is None and row.status != "SUPERSEDED"]
        assert stuck <= {row.manifest_id for row in unarchived if self._etag_now(row.s3_key) != row.etag}
        held = {version for versions in self.lake.values() for version in versions}
        for key, content in self.last.items():
            current = [(row.etag, row.status) for row in rows if row.s3_key == key and row.status != "SUPERSEDED"]
            in_the_lake = {etag for held_key, etag in held if held_key == key}
            if content is None or stuck & {row.manifest_id for row in rows if row.s3_key == key}:
                continue
            if content.startswith("bad"):
                assert (content, "QUARANTINED") in current
            elif key not in self.pruned:
                assert current == [(content, "SUCCEEDED")]
            if not content.startswith("bad"):
                assert in_the_lake == {content}
        assert {row.status for row in rows if row.manifest_id not in stuck} <= {
            "SUCCEEDED", "QUARANTINED", "SUPERSEDED", *(["FAILED"] if self.deleted else []),
        }  # fmt: skip

    def _pass(self) -> None:
        self.discover()
        for key in self.deleted:
            self.hear_of_a_deletion(key)
        self.revive()
        self.withdraw_what_is_gone()
        self.claim(most=3)
        for due in self.ledger.due_manifests(self.dataset, 100, 10**6):
            if not self._is_pruned(due.manifest_id):
                self._end(self._begin(due.manifest_id, "the last worker", LEASE))
        self.archive()
        self.a_key_has_rows_of_one_version_at_most()

    # ---- what is asked

    def _lapse(self) -> None:
        """Whoever asks the ledger for work, or for work to be done again, has it reap first."""
        for attempt in self.attempts:
            attempt.holds = attempt.holds and attempt.leased

    def _attempt(self, pick: int) -> Attempt:
        return self.attempts[-1 - pick % min(len(self.attempts), 6)]

    def _holder(self, manifest_id: str) -> Attempt | None:
        return next((item for item in self.attempts if item.manifest_id == manifest_id and item.holds), None)

    def _newest(self, attempt: Attempt) -> bool:
        return attempt.number == self.numbers[attempt.manifest_id]

    def _is_pruned(self, manifest_id: str) -> bool:
        held = self.lake.get(manifest_id, set())
        return bool(held) and all(key in self.pruned for key, _ in held)

    def _state(self, manifest_id: str) -> str:
        return self.ledger.manifest(self.dataset, manifest_id).state

    def _succeeded(self) -> set[str]:
        return {row.s3_key for row in self._files() if row.status == "SUCCEEDED"}

    def _files(self) -> list[FileRow]:
        return list(self.ledger.files(self.dataset))

    def _manifests(self) -> list[ManifestRow]:
        return self.ledger.manifests(self.dataset)


# How often each is taken, compared with the others, and how.
STEPS: dict[str, tuple[int, Callable[[Protocol, Draw], object]]] = {
    "land": (4, lambda at, draw: at.land(draw.key, draw.content)),
    "land and discover": (6, lambda at, draw: at.land_and_discover(draw.key, draw.content)),
    "delete": (1, lambda at, draw: at.delete(draw.key)),
    "list": (3, lambda at, _: at.list_objects()),
    "register what was listed": (4, lambda at, draw: at.register_what_was_listed(draw.pick) if at.listings else None),
    "discover": (1, lambda at, _: at.discover()),
    "hear of an object": (1, lambda at, draw: at.hear_of_an_object(draw.key)),
    "hear of a deletion": (1, lambda at, draw: at.hear_of_a_deletion(draw.key)),
    "claim": (1, lambda at, draw: at.claim(1 + draw.pick % 2)),
    "claim and begin": (8, lambda at, _: at.claim_and_begin()),
    "revive": (2, lambda at, _: at.revive()),
    "withdraw": (1, lambda at, _: at.withdraw_what_is_gone()),
    "begin": (2, lambda at, draw: at.begin(draw.pick, draw.flag) if at.manifests else None),
    "begin and be too slow": (
        1,
        lambda at, draw: at.begin(draw.pick, draw.flag, timedelta(0)) if at.manifests else None,
    ),
    "heartbeat": (1, lambda at, draw: at.heartbeat(draw.pick) if at.attempts else None),
    "die": (2, lambda at, draw: at.die_and_be_reaped(draw.pick) if at.attempts else None),
    "publish": (1, lambda at, draw: at.publish(draw.pick) if at.attempts else None),
    "commit": (8, lambda at, draw: at.commit_one_that_holds(draw.pick)),
    "commit, held or not": (
        3,
        lambda at, draw: at.commit(draw.pick, draw.spoiled) if at.attempts else None,
    ),
    "fail": (1, lambda at, draw: at.fail(draw.pick) if at.attempts else None),
    "requeue a key": (1, lambda at, draw: at.requeue_a_key(draw.key)),
    "requeue a state": (1, lambda at, draw: at.requeue_a_status(("SUCCEEDED", "FAILED", "QUARANTINED")[draw.pick % 3])),
    "requeue a manifest": (1, lambda at, draw: at.requeue_a_manifest(draw.pick) if at.manifests else None),
    "archive": (3, lambda at, _: at.archive()),
    "settle": (2, lambda at, _: at.ledger.settle(at.dataset, keep=False)),
    "prune": (1, lambda at, _: None if at.objects else at.prune()),
}
WEIGHTED = [name for name, (often, _) in STEPS.items() for _ in range(often)]


def _output(attempt: Attempt) -> OutputFile:
    return OutputFile(f"curated/{attempt.manifest_id}-a{attempt.number}.parquet", 1, 1)


class _allowed:
    """The block may do what it does, or must be told LeaseLost."""

    def __init__(self, may: bool) -> None:
        self._refused = None if may else pytest.raises(LeaseLost)

    def __enter__(self) -> None:
        if self._refused is not None:
            self._refused.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self._refused.__exit__(*error) if self._refused is not None else None
