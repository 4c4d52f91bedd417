"""Which keys are paths: S3 takes any text of up to 1,024 bytes as a key."""

from __future__ import annotations

import re

_NO_PATH = re.compile(r"(^|/)\.{0,2}(/|\Z)|[\x00-\x1f\x7f]")
_NAME_BYTES = 255  # of a file's name, on every usual file system


def is_path(key: str) -> bool:
    """Whether no segment is empty, `.` or `..`, and no character a control: what obstore can say."""
    return _NO_PATH.search(key) is None


def is_file_path(key: str) -> bool:
    """Whether a local file may have the key for its path, and lies below the folder that it is put into."""
    return is_path(key) and all(len(name.encode()) <= _NAME_BYTES for name in key.split("/"))
