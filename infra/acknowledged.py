"""Findings of cdk-nag that stay, each with its reason."""

from __future__ import annotations

import aws_cdk as cdk

from infra.context import Context


def acknowledge(data: cdk.Stack, platform: cdk.Stack, context: Context) -> None:
    """Nothing yet."""
