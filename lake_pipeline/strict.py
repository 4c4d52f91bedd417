"""What every part of a declaration has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part that cannot be changed, and in which an unknown field is a mistake."""

    # strict: `max_files: yes` is a mistake, not 1. Durations as seconds, which is what they are read from.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, ser_json_timedelta="float")
