"""The landing group: the part of a key that says when it landed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

HISTORICAL = "historical"
# What a segment may look like, by the placeholder's name; others take any one segment.
_SHAPES = {
    "year": r"\d{4}",
    "month": r"\d{1,2}",
    "day": r"\d{1,2}",
    "hour": r"\d{1,2}",
    "week": r"(?i:week|w)?\d{1,2}",
    "date": r"\d{4}-\d{2}-\d{2}",
}


@dataclass(frozen=True)
class GroupTemplate:
    """A compiled `source.group`, such as `{year}/{week}/`."""

    text: str
    pattern: re.Pattern[str] | None
    names: tuple[str, ...] = ()

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> GroupTemplate:
        """Compile a template.

        Raises:
            ValueError: an unbalanced brace, a placeholder that is no word, or one used twice.
        """
        if not text:
            return GroupTemplate(text, None)
        parts = re.split(r"\{(\w+)\}", text.strip("/") + "/")
        if any("{" in literal or "}" in literal for literal in parts[::2]):
            raise ValueError(f"{text!r} has a brace that is not part of a {{placeholder}}")
        names = parts[1::2]
        if len(set(names)) != len(names):
            raise ValueError(f"{text!r} names a placeholder twice")
        pattern = "".join(
            f"({_SHAPES.get(part, '[^/]+')})" if index % 2 else re.escape(part) for index, part in enumerate(parts)
        )
        return GroupTemplate(text, re.compile(pattern), tuple(names))

    def group_of(self, relative_key: str) -> str:
        """The landing group of a key below the source prefix; `historical` where it does not match."""
        match = self.pattern.match(relative_key) if self.pattern else None
        return match[0].strip("/") if match else HISTORICAL

    def fill(self, text: str, group: str) -> str:
        """A text with its placeholders, which are of this template, as the landing group says them.

        Each is `historical` where the group does not match; what a key had better not hold becomes `_`.
        """
        match = self.pattern.fullmatch(group + "/") if self.pattern else None
        for index, name in enumerate(self.names, 1):
            value = re.sub(r"[^\w.-]", "_", match[index]) if match else HISTORICAL
            text = text.replace(f"{{{name}}}", value if value.strip(".") else "_")
        return text
