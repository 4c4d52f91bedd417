"""The documentation is true: its reference is the model's, and every command has its line in the README."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from docs import make_costs, make_reference
from lake_pipeline.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_of_the_declaration_is_what_the_model_says() -> None:
    assert make_reference.TARGET.read_text() == make_reference.render()
    assert make_reference.EVENTS.read_text() == make_reference.render_events()


def test_the_costs_of_a_month_are_what_the_price_list_and_the_environments_say() -> None:
    assert make_costs.TARGET.read_text().endswith(make_costs.render())


def test_every_field_of_the_declaration_has_a_meaning() -> None:
    assert not re.findall(r"^\|.*\|  \|$", make_reference.render(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_policies_for_aws_are_json_and_allow_what_the_pages_of_its_parts_ask_for() -> None:
    page = (ROOT / "docs/aws.md").read_text()
    allowed = {
        action
        for policy in re.findall(r"```json\n(.*?)```", page, re.DOTALL)
        for statement in json.loads(policy)["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    asked = set()
    for part in (ROOT / "docs").glob("aws-*.md"):
        for row in re.findall(r"^\|(.*?)\||^(`\w+:.*?)$", part.read_text(), re.MULTILINE):
            service = ""
            for name, action in re.findall(r"`(?:([a-z0-9]+):)?([A-Z][a-z]+(?:[A-Z][a-z]+)+)`", "".join(row)):
                service = name or service
                asked |= {f"{service}:{action}"} if service else set()
    assert len(asked) > 25
    # The first where there is a key, which the page says; the second is an event, and no permission.
    assert asked - allowed == {"kms:GenerateDataKey", "s3:TestEvent"}


def test_every_command_of_the_operators_page_is_one_with_these_options() -> None:
    commands = typer.main.get_command(app)
    assert isinstance(commands, typer.core.TyperGroup)
    page = (ROOT / "docs/operations.md").read_text()
    fenced = re.findall(r"```\n(.*?)```", page, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    lines = [line.partition("#")[0] for text in fenced + inline for line in text.splitlines()]
    named = [found for line in lines for found in re.findall(r"\blake ([a-z]+)((?: +(?!lake )[^\s|&;]+)*)", line)]
    assert len(named) > 50
    for name, rest in named:
        assert name in commands.commands, name
        known = {option for parameter in _parameters(commands.commands[name]) for option in parameter.opts}
        assert {word for word in rest.split() if word.startswith("--")} <= known, f"lake {name}{rest}"


def _parameters(command: Any) -> list[Any]:
    """Those of a command, or of all commands of a group."""
    inner = getattr(command, "commands", {}).values()
    return [*command.params, *(parameter for each in inner for parameter in each.params)]


def test_every_test_that_a_page_names_is_there() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "lake_pipeline_tests").glob("test_*.py"))
    named = {name: page.name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert {name: page for name, page in named.items() if f"def {name}(" not in tests} == {}
    assert "types.md" in named.values()
