"""The orders in which objects were seen to have their keys.

A writer has one order and leaves keys out; a lake has few writers. So the key sequences of any number of records come
down to a few orders, each of which the sequences of some records are parts of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

# Objects in yet another order take the exact path.
MAX_ORDERS = 4
# After so many objects that an order could not take, it is as good as it will get.
_MAX_SORTS = 200


@dataclass
class KeyOrder:
    """Keys in an order, and for each key the ones that were seen right before it."""

    keys: list[str] = field(default_factory=list)
    before: dict[str, dict[str, None]] = field(default_factory=dict)
    sorts: int = 0

    def holds(self, keys: Mapping[str, Any]) -> bool:
        """Whether the keys are a part of this order."""
        places = self._places()
        known = [places[key] for key in keys if key in places]
        if len(known) < len(keys) or known != sorted(known):
            return False
        self._remember(self.before, keys)
        return True

    def take(self, keys: Mapping[str, Any]) -> bool:
        """Find an order that holds the keys as well, if there is one."""
        places = self._places()
        known = [places[key] for key in keys if key in places]
        if known == sorted(known):
            self._insert(keys, places)
        elif not self._sort(keys, places):
            return False
        self._remember(self.before, keys)
        return True

    def append(self, keys: Iterable[str]) -> bool:
        """Add the keys that are missing at the end; True if there were any."""
        new = [key for key in keys if key not in set(self.keys)]
        self.keys += new
        return bool(new)

    def _places(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self.keys)}

    def _insert(self, keys: Mapping[str, Any], places: Mapping[str, int]) -> None:
        """Put each new key after the one before it, or all of them last if none of the keys is known."""
        at = 0 if any(key in places for key in keys) else len(self.keys)
        added = 0
        for key in keys:
            if key in places:
                at = places[key] + added + 1
            else:
                self.keys.insert(at, key)
                at, added = at + 1, added + 1

    def _sort(self, keys: Mapping[str, Any], places: Mapping[str, int]) -> bool:
        """Move keys that were never seen together, where they stand in the way, and no others."""
        self.sorts += 1
        if self.sorts > _MAX_SORTS:
            return False
        before = {key: dict(self.before.get(key, ())) for key in [*self.keys, *keys]}
        self._remember(before, keys)
        sorter = TopologicalSorter(before)
        try:
            sorter.prepare()
        except CycleError:
            return False
        result: list[str] = []
        ready: list[tuple[int, str]] = []
        while sorter.is_active():
            for key in sorter.get_ready():
                heappush(ready, (places.get(key, len(places)), key))
            _, key = heappop(ready)
            result.append(key)
            sorter.done(key)
        self.keys = result
        return True

    @staticmethod
    def _remember(before: dict[str, dict[str, None]], keys: Mapping[str, Any]) -> None:
        for one, other in pairwise(keys):
            before.setdefault(other, {})[one] = None


def note_order(orders: list[KeyOrder], keys: Mapping[str, Any]) -> bool:
    """Find an object's keys a place in one of the orders, or start another; True if that changed anything."""
    if not keys or any(order.holds(keys) for order in orders):
        return False
    if any(order.take(keys) for order in orders):
        return True
    if len(orders) < MAX_ORDERS:
        order = KeyOrder()
        orders.append(order)
        return order.take(keys)
    return orders[0].append(key for key in keys if not any(key in order.keys for order in orders))
