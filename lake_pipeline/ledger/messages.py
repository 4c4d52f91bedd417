"""Strangers' text, as far as Postgres can hold it."""

from __future__ import annotations


def postgres_text(message: str) -> str:
    """What is said of a broken file may hold a NUL or half of a surrogate pair, which Postgres text cannot."""
    return message.encode(errors="backslashreplace").decode().replace("\0", "\\0")
