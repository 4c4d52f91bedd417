"""How a run shows that it goes on: a bar on a terminal, plain lines in a pipe, both on stderr."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from lake_pipeline.lake import Lake
from lake_pipeline.reports import note, printable, size_text, stderr

if TYPE_CHECKING:
    from types import TracebackType

    from lake_pipeline.defs.running import Progress as Told
    from lake_pipeline.ledger.models import DueManifest


class RunDisplay:
    """Listens to a run, shows it, and counts manifests and seconds by dataset."""

    def __init__(self, lake: Lake) -> None:
        self.manifests: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lake = lake
        self._dataset = self._last = ""
        self._since = self._began = time.monotonic()
        self._task: TaskID | None = None
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files"),
            TimeElapsedColumn(),
            console=stderr(),
            transient=True,
            disable=not stderr().is_terminal,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._count_time(self._dataset)

    def tell(self, told: Told) -> None:
        """One step of the run."""
        self._count_time(told.dataset)
        if told.discovered is not None:
            self._line(f"{told.dataset}: {told.discovered.listed:,} files listed, {told.discovered.new:,} new")
        elif told.waiting_for:
            self._line(f"{told.dataset}: waiting for {told.waiting_for:,} manifests that others are converting")
        elif told.manifest is not None and told.succeeded is None:
            self._begin(told.dataset, told.manifest)
        elif told.manifest is not None:
            self._end(told.dataset, told.manifest, told.succeeded is True)

    def _begin(self, dataset: str, manifest: DueManifest) -> None:
        self._began = time.monotonic()
        # Files that are tried again are in the backlog a second time, so the total may only grow.
        waiting = self._lake.ledger.backlog_summary(dataset).files
        again = f", attempt {manifest.next_attempt}" if manifest.next_attempt > 1 else ""
        title = f"{dataset} {manifest.manifest_id}"
        self._line(f"{title}: converting {manifest.files:,} files, {size_text(manifest.bytes)}{again}", waiting)

    def _end(self, dataset: str, manifest: DueManifest, succeeded: bool) -> None:
        self.manifests[dataset] += 1
        if self._task is not None:
            left = self._lake.ledger.backlog_summary(dataset).files
            self._bar.update(self._task, completed=max(0, (self._bar.tasks[0].total or 0) - left))
        title = f"{dataset} {manifest.manifest_id}"
        if succeeded:
            note(f"{title}: done in {time.monotonic() - self._began:.1f} s")
        else:
            reason = self._lake.ledger.manifest(dataset, manifest.manifest_id).error_message
            note(f"{title}: attempt {manifest.next_attempt} failed: {reason or 'see its run in lake dev'}")

    def _line(self, text: str, waiting: int = 0) -> None:
        """What goes on now: beside the bar, or as a line where there is none; `waiting` files are still to be done."""
        if not stderr().is_terminal:
            if text != self._last:
                note(text)
            self._last = text
            return
        if self._task is None:
            self._task = self._bar.add_task(text, total=None)
        self._bar.update(self._task, description=printable(text))
        if waiting:
            self._bar.update(self._task, total=self._bar.tasks[0].completed + waiting)

    def _count_time(self, dataset: str) -> None:
        now = time.monotonic()
        # Until a dataset says its first word, the time is its own too: that is its listing.
        self.seconds[dataset] += now - self._since
        self._dataset, self._since = dataset, now
