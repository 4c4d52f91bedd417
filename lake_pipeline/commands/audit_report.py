"""What `lake audit` prints: how far it is, each difference as JSON, or a table by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rich.status import Status

from lake_pipeline.reports import note, print_json_lines, print_table, printable, say, stderr

if TYPE_CHECKING:
    from types import TracebackType

    from lake_pipeline.audit.classes import Difference
    from lake_pipeline.audit.repair import Mended

_EXAMPLES = 3


@dataclass
class _Tally:
    """The differences of one class of a dataset: how many were found and mended and are left, and the first of them."""

    found: int = 0
    mended: int = 0
    left: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class AuditReport:
    """Counts differences, and prints each where JSON is wanted; of others it keeps the first of each class."""

    json: bool
    repairs: bool
    dry_run: bool
    _tallies: dict[tuple[str, str], _Tally] = field(default_factory=dict)
    _looked_at: dict[tuple[str, str], int] = field(default_factory=dict)
    _status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    @property
    def differs(self) -> bool:
        """Whether a difference is left."""
        return any(tally.left for tally in self._tallies.values())

    def teller(self, dataset: str) -> Callable[[str, int], None]:
        """Who shows how far the audit of a dataset is: beside a spinner, or as lines where there is no terminal."""

        def tell(step: str, count: int) -> None:
            self._looked_at[dataset, step] = count
            text = f"{dataset}: {count:,} {step} looked at"
            if not stderr().is_terminal:
                if count:
                    note(text)
                return
            if self._status is None:
                self._status = stderr().status("")
                self._status.start()
            self._status.update(printable(text))

        return tell

    def found(self, difference: Difference) -> None:
        """A difference, where nothing is to be mended."""
        tally = self._tally(difference, difference.detail)
        tally.found += 1
        tally.left += 1
        self._print(difference, "found", None)

    def mended(self, outcome: Mended) -> None:
        """A difference, and what was or would be done about it."""
        tally = self._tally(outcome.difference, f"{outcome.difference.detail} ({outcome.how})")
        tally.found += 1
        tally.left += 1
        tally.mended += outcome.done
        done = "found" if self.dry_run else "mended"
        self._print(outcome.difference, done if outcome.done else "refused", outcome.how)

    def begin_again(self, dataset: str) -> None:
        """After the repair: what counts from here on is what is left."""
        for (name, _), tally in self._tallies.items():
            if name == dataset:
                tally.left = 0

    def left(self, difference: Difference) -> None:
        """A difference that is there after the repair."""
        self._tally(difference, difference.detail).left += 1
        self._print(difference, "left", None)

    def print_summary(self) -> None:
        """The table by class, or that there is nothing to tell."""
        if self.json:
            return
        if not self._tallies:
            looked = sum(self._looked_at.values())
            say(f"no difference: {looked:,} objects and records of the ledger were looked at")
            return
        counts = ["found", "would mend" if self.dry_run else "mended", "left"] if self.repairs else ["found"]
        print_table(["dataset", "class", *counts, "such as"], self._rows())

    def _rows(self) -> list[list[object]]:
        rows: list[list[object]] = []
        for (dataset, kind), tally in self._tallies.items():
            counts = [tally.found, tally.mended, tally.left] if self.repairs else [tally.found]
            first, *others = tally.examples
            rows.append([dataset, kind, *counts, first])
            rows += [[None, None, *[None] * len(counts), other] for other in others]
        return rows

    def _tally(self, difference: Difference, text: str) -> _Tally:
        tally = self._tallies.setdefault((difference.dataset, difference.kind), _Tally())
        if len(tally.examples) < _EXAMPLES:
            tally.examples.append(f"{difference.subject}: {text}")
        return tally

    def _print(self, difference: Difference, state: str, repair: str | None) -> None:
        if self.json:
            document: dict[str, Any] = {
                "dataset": difference.dataset,
                "class": difference.kind,
                "subject": difference.subject,
                "detail": difference.detail,
                "manifest_id": difference.manifest_id,
                "state": state,
                "repair": repair,
            }
            print_json_lines([document])
