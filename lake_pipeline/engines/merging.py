"""Which staged files of a Hive partition become one; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import PurePosixPath

from lake_pipeline.engines.stages import Merge
from lake_pipeline.kernel.results import StagedFile


def plan_merges(outputs: Iterable[StagedFile], name: str, target: int) -> list[Merge]:
    """Every output under its final name: files of one Hive partition together, up to `target` bytes in one.

    A merge of a single file is that file under another name. `name` begins the file names.
    """

    def folder(file: StagedFile) -> str:
        return PurePosixPath(file.path).parent.as_posix()

    merges = []
    for parent, files in groupby(sorted(outputs, key=folder), folder):
        for number, inputs in enumerate(_filled(files, target)):
            merges.append(Merge((PurePosixPath(parent) / f"{name}-{number}.parquet").as_posix(), tuple(inputs)))
    return merges


def _filled(files: Iterable[StagedFile], target: int) -> Iterator[list[StagedFile]]:
    held: list[StagedFile] = []
    for file in files:
        if held and sum(other.bytes for other in held) + file.bytes > target:
            yield held
            held = []
        held.append(file)
    if held:
        yield held


def shares(merges: Iterable[Merge], slots: int) -> list[list[Merge]]:
    """Lists of merges, each one task's work, of about as many bytes each; up to two for each slot."""
    lists: list[list[Merge]] = [[] for _ in range(2 * slots)]
    for merge in sorted(merges, key=lambda merge: merge.bytes, reverse=True):
        min(lists, key=lambda held: sum(other.bytes for other in held)).append(merge)
    return [held for held in lists if held]
