"""A declaration is data: nothing that it says is run, reaches into the program, or grows without bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lake_pipeline.checks import Checks
from lake_pipeline.dataset import Dataset
from lake_pipeline.declarations import load_dataset, load_datasets
from lake_pipeline.errors import CheckInvalid, DeclarationError
from lake_pipeline.kernel.quality import evaluate
from lake_pipeline.kernel.results import DATA
from lake_pipeline.landing import GroupTemplate
from lake_pipeline_tests.kernel_oracle import convert_lines

PLAIN: dict[str, Any] = {"name": "events", "source": {"prefix": "raw/"}, "output": {"prefix": "curated/"}}


def load(tmp_path: Path, text: str) -> Dataset:
    (tmp_path / "events.yaml").write_text(text)
    return load_dataset(tmp_path / "events.yaml")


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch pwned']",
        "!!python/name:os.system",
        "!!python/object/new:subprocess.Popen [[touch, pwned]]",
        "!!python/module:os",
        "!ENV ${HOME}",
    ],
)
def test_a_tag_runs_nothing(tmp_path: Path, tag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeclarationError, match=r"events\.yaml:2: not valid YAML"):
        load(tmp_path, f"name: events\ndescription: {tag}\n")
    assert not (tmp_path / "pwned").exists()


def bomb(kind: str) -> str:
    """Thirty lines, each ten or two times the one before."""
    if kind == "aliases":
        lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30))]
    else:
        lines = ["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("kind", ["aliases", "merges"])
def test_aliases_that_stand_for_billions_of_values_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DeclarationError, match="its aliases stand for more than 100,000 values"):
        load(tmp_path, bomb(kind))


def test_an_alias_inside_of_its_own_anchor_is_refused(tmp_path: Path) -> None:
    for text in ("owners: &a [*a]", "schema: &a {hints: *a}"):
        with pytest.raises(DeclarationError):
            load(tmp_path, yaml.safe_dump(PLAIN) + text + "\n")


@pytest.mark.parametrize("text", ["{x.__class__}/", "{year.__init__}", "{0}/", "{}/", "{year!r}/", "{year:>9}/", "{{"])
@pytest.mark.parametrize("field", ["group", "output", "manifests"])
def test_a_placeholder_is_a_word_and_reaches_nothing(text: str, field: str) -> None:
    parts: dict[str, Any] = {
        "group": {"source": {"prefix": "raw/", "group": text}},
        "output": {"output": {"prefix": f"curated/{text}"}},
        "manifests": {"batch": {"manifests": f"{text}{{group}}-{{sequence}}.json"}},
    }
    if (text, field) == ("{0}/", "group"):
        return  # a word of its own, which stands for one segment
    with pytest.raises(ValueError, match=r"brace|placeholder|such as \{group\}"):
        Dataset.model_validate(PLAIN | parts[field])


@given(st.text(min_size=1).filter(lambda text: "/" not in text))
def test_what_a_key_fills_a_prefix_with_is_one_folder(segment: str) -> None:
    filled = GroupTemplate.parse("{any}/").fill("curated/{any}/", segment)
    assert filled.count("/") == 2
    assert ".." not in filled.split("/")
    assert filled.isprintable() or any(letter.isalnum() for letter in filled)


@pytest.mark.parametrize(
    "prefix", ["../up/", "a/../../b/", "/etc/", "a//b/", "./", "", "/", "a\x00/", "a\nb/", "_staging/x/"]
)
@pytest.mark.parametrize("part", ["source", "output", "archive"])
def test_a_prefix_leads_nowhere_else(tmp_path: Path, prefix: str, part: str) -> None:
    declared = PLAIN | {part: {"prefix": prefix} | ({"action": "move"} if part == "archive" else {})}
    with pytest.raises(DeclarationError, match=r"is not a prefix below the store's root|is kept for the lake itself"):
        load(tmp_path, yaml.safe_dump(declared))


@pytest.mark.parametrize("inside", ["curated/", "curated/x/", "archive/deep/", "raw/", "raw/inner/"])
def test_a_dataset_whose_source_is_inside_of_anothers_prefix_is_refused(tmp_path: Path, inside: str) -> None:
    first = PLAIN | {"archive": {"action": "move", "prefix": "archive/"}}
    other = {"name": "other", "source": {"prefix": inside}, "output": {"prefix": "elsewhere/"}}
    for declared in (first, other):
        (tmp_path / f"{declared['name']}.yaml").write_text(yaml.safe_dump(declared))
    with pytest.raises(DeclarationError, match="overlaps"):
        load_datasets(tmp_path)


@pytest.mark.parametrize("reference", ["../../etc/passwd", "/etc/passwd", "a/b", "..", "a.b", "%2e%2e", ""])
def test_a_reference_is_a_name_and_no_path(reference: str) -> None:
    enrich = [{"reference": reference, "match": {"longitude": "x", "latitude": "y"}, "add": ["district"]}]
    with pytest.raises(ValueError, match="is no reference"):
        Dataset.model_validate(PLAIN | {"transform": {"enrich": enrich}})


@pytest.mark.parametrize(
    "expression",
    [
        "true)); COPY (SELECT 1) TO '{folder}/out.csv'; SELECT ((true",
        "true); ATTACH '{folder}/out.db' AS other; SELECT (true",
        "true); INSTALL httpfs; LOAD httpfs; SELECT (true",
        "true); SET memory_limit = '1TB'; SELECT (true",
        "(SELECT count(*) FROM read_text('{folder}/secret')) > 0",
        "(SELECT count(*) FROM glob('{folder}/*')) > 0",
        "(SELECT count(*) FROM read_parquet('s3://bucket/key')) > 0",
        "(SELECT count(*) FROM read_csv('http://127.0.0.1:1/x')) > 0",
        "(SELECT count(*) FROM declared) > 0",
    ],
)
def test_an_expression_of_a_check_reads_and_writes_nothing_else(tmp_path: Path, expression: str) -> None:
    (tmp_path / "secret").write_text("planted")
    converted = convert_lines(tmp_path / "lake", '{"id":1}')
    declared = Checks.model_validate({"sql": {"sly": expression.format(folder=tmp_path)}})
    results = converted.results
    with pytest.raises(CheckInvalid, match=r"checks\.sly") as refused:
        evaluate(declared, converted.dataset.output, results.schema, converted.staging / DATA, results.outputs, {})
    assert "planted" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "secret"]
