"""How S3 is to encrypt what is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Encryption:
    """Server-side encryption of what is written: `AES256`, `aws:kms` or `aws:kms:dsse`, and the key for the latter."""

    algorithm: str
    kms_key_id: str | None = None
