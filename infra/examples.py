"""The policies that docs/aws.md shows, for who makes the resources by hand: python -m infra.examples."""

from __future__ import annotations

import json
import textwrap

from infra import policies
from infra.folders import Folders
from lake_pipeline.declarations import load_datasets
from lake_pipeline.settings import BUNDLED_DATASETS

_WIDTH = 118


def examples() -> list[str]:
    """The policies of the Glue job, of Dagster and of readers, as text."""
    at = policies.Places(
        region="eu-central-1",
        account="111122223333",
        bucket="my-lake",
        prefix="prod/",
        folders=Folders.of([load_datasets(BUNDLED_DATASETS)["events"]]),
        queue="arrivals",
        dead_letters="arrivals-dead",
        glue_job="lake-convert",
        glue_database="lake",
        workgroup="primary",
        topic="lake-alerts",
        bus="lake",
        namespace="Lake",
    )
    return [_render(statements) for statements in (policies.glue(at), policies.dagster(at), policies.readers(at))]


def _render(statements: list[policies.Statement]) -> str:
    """JSON of filled lines, a statement at a time, with a list of one as what is in it."""
    blocks = []
    for statement in statements:
        shown = {
            name: value[0] if isinstance(value, list) and len(value) == 1 else value
            for name, value in statement.items()
        }
        text = json.dumps(shown)
        blocks.append(
            textwrap.fill(
                text,
                _WIDTH,
                initial_indent="  ",
                subsequent_indent="   ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    return '{"Version": "2012-10-17", "Statement": [\n' + ",\n".join(blocks) + "]}\n"


def main() -> None:
    print("\n".join(examples()), end="")


if __name__ == "__main__":
    main()
