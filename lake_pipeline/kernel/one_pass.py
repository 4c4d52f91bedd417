"""Both passes in one: rows are written with the schema that a manifest's first records show, for as long as no later
record shows another.

Most manifests end with that schema, and are read and split into records once. Where one does not, nothing that was
written counts: the rest is looked at, and then all of it is written in a second pass. What comes out is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np

from lake_pipeline.errors import LakeError
from lake_pipeline.kernel.groups import Group
from lake_pipeline.kernel.matching import Mask, ahead, matched
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.segments import Pattern
from lake_pipeline.kernel.sorting import Sorted, sort
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.kernel.survey import Survey
from lake_pipeline.kernel.writing import Recipe

# Python parses as many records in the time that it takes to make an expression ready.
_FEW = 64
_Looked: TypeAlias = tuple[Pattern | None, Mask]


class Outgrown(Exception):
    """What was written so far was not the manifest's: its schema is another, or rows came from an unreadable file."""


@dataclass(frozen=True)
class _Basis:
    """The recipe of the time, and the expression for what had been seen."""

    recipe: Recipe
    seen: Pattern | None

    def sort(self, group: Group, known: Mask | None = None) -> Sorted:
        recipe = self.recipe
        return sort(group, recipe.pattern, recipe.quoted, recipe.misfits, known)


class OnePass:
    """Hands records on as the survey looks at them.

    `recipe_of` says how what was seen so far is to be written.
    """

    def __init__(
        self,
        survey: Survey,
        recipe_of: Callable[[Node], Recipe],
        files: list[RawFile],
        pool: Executor,
        depth: int,
    ) -> None:
        self._survey = survey
        self._recipe_of = recipe_of
        self._handed: set[int] = set()  # files of which rows were handed on
        self.outgrown = False
        self.error: LakeError | None = None  # what no second pass would change
        self._basis: _Basis | None = None
        self._groups: Iterator[tuple[Group, tuple[_Looked, tuple[_Basis, Sorted] | None]]] = ahead(
            pool, self._look, survey.groups(files), depth
        )
        self._first = next(self._groups, None)
        if self._first:
            group, (looked, _) = self._first
            survey.take(group, *looked)
            self._basis = self._settled()

    @property
    def recipe(self) -> Recipe | None:
        """How what was seen so far is written; None where the first records did not tell."""
        return self._basis.recipe if self._basis else None

    def sort(self, *_: object) -> Iterator[tuple[Group, Sorted]]:
        """Every group; of which files, and who works on them, was said when this was made.

        Raises:
            Outgrown: the recipe was not the manifest's.
            SchemaConflict: more paths than any schema of this dataset may have.
        """
        first, self._first = self._first, None
        for number, (group, (looked, found)) in enumerate(chain([first] if first else [], self._groups)):
            lessons = self._survey.lessons
            if number:
                self._take(group, looked)
            if self._survey.lessons != lessons:
                self._relearn()
            yield self._handed_on(group, found)

    def finish(self, files: list[RawFile], pool: Executor, depth: int) -> None:
        """Look at what is left, without handing anything on.

        Raises:
            SchemaConflict: more paths than any schema of this dataset may have.
        """
        for group, (looked, _) in self._groups:
            self._survey.take(group, *looked)
        self._survey.look_again(files, pool, depth)

    def _take(self, group: Group, looked: _Looked) -> None:
        try:
            self._survey.take(group, *looked)
        except LakeError as error:
            self.error = error
            raise

    def _look(self, group: Group) -> tuple[_Looked, tuple[_Basis, Sorted] | None]:
        basis = self._basis
        if basis is None:
            return self._survey.match(group), None
        recipe, seen = basis.recipe, self._survey.pattern
        if recipe.pattern == seen or not (recipe.covered and seen and seen == basis.seen):
            looked = pattern, mask = self._survey.match(group)
            return looked, (basis, basis.sort(group, mask if recipe.pattern == pattern else None))
        # Of what is plain or was taken apart nothing can be learnt, and a few others are parsed sooner than matched.
        sorted_ = basis.sort(group, matched(group.block, recipe.pattern)[1])
        mask = sorted_.plain.copy()
        if sorted_.parted:
            mask[sorted_.parted.places] = True
        if len(mask) - np.count_nonzero(mask) > _FEW:
            mask[~mask] = matched(group.block.only(~mask), seen)[1]
        return (seen, mask), (basis, sorted_)

    def _handed_on(self, group: Group, found: tuple[_Basis, Sorted] | None) -> tuple[Group, Sorted]:
        assert self._basis is not None
        spoilt = self._spoilt(group)
        if spoilt & self._handed:
            self._refuse()
        if spoilt & {piece.file.id for piece in group.pieces}:
            group, found = group.without(spoilt), None
        self._handed.update(piece.file.id for piece in group.pieces)
        if found and (found[0] is self._basis or found[1].plain.all()):
            return group, found[1]
        return group, self._basis.sort(group)

    def _spoilt(self, group: Group) -> set[int]:
        """Files that end in this group and are to be quarantined whole."""
        found = self._survey.found
        return {
            file.id
            for file, error in group.ended
            if error
            or (file.id in found.bad and found.bad[file.id][0] == found.rows[file.id] + found.exploded[file.id])
        }

    def _relearn(self) -> None:
        """Take in what the survey has learnt; the schema must be what it was."""
        before, self._basis = self._basis, self._settled()
        if before is None or self._basis is None or self._basis.recipe.schema != before.recipe.schema:
            self._refuse()

    def _settled(self) -> _Basis | None:
        try:
            return _Basis(self._recipe_of(self._survey.found.root), self._survey.pattern)
        except LakeError:
            return None  # what else there is decides whether it is one

    def _refuse(self) -> None:
        self.outgrown = True
        raise Outgrown
