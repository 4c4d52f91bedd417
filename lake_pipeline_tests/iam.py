"""What IAM's policies allow: identity policies of Allow statements, with the conditions that ours have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """An action on a resource, with the keys that conditions ask for."""

    action: str
    resource: str
    keys: tuple[tuple[str, str], ...] = field(default=(), compare=False)


def allowing(policy: Iterable[Mapping[str, Any]], call: Call) -> list[tuple[str, str]]:
    """Pairs of action and resource, as statements name them, that allow the call."""
    return [
        (action, resource)
        for statement in policy
        if _holds(statement.get("Condition", {}), dict(call.keys))
        for action in listed(statement["Action"])
        if matches(action, call.action)
        for resource in listed(statement["Resource"])
        if matches(resource, call.resource)
    ]


def listed(value: Any) -> list[str]:
    """Actions or resources, of which one may stand alone."""
    return [value] if isinstance(value, str) else list(value)


def matches(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` for any text, `?` for a character."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None


def _holds(condition: Mapping[str, Mapping[str, Any]], keys: Mapping[str, str]) -> bool:
    for operator, wanted in condition.items():
        for name, values in wanted.items():
            if name not in keys:
                return False
            if operator == "StringEquals":
                fits = keys[name] in listed(values)
            elif operator in ("StringLike", "ArnEquals"):
                fits = any(matches(value, keys[name]) for value in listed(values))
            else:
                raise NotImplementedError(operator)
            if not fits:
                return False
    return True
