"""The landing group of a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake_pipeline.landing import HISTORICAL, GroupTemplate

# One segment of a key: anything but a slash.
SEGMENT = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("template", "key", "group"),
    [
        ("{year}/{week}/", "2026/week07/a.json", "2026/week07"),
        ("{year}/{week}/", "2026/week07/deeper/a.json", "2026/week07"),
        ("{year}/{week}/", "2026/W07/a.json", "2026/W07"),
        ("{year}/{week}", "2026/7/a.json", "2026/7"),
        ("{year}/{week}/", "all_historical_files/a.json", HISTORICAL),
        ("{year}/{week}/", "2026/notes/a.json", HISTORICAL),
        ("{year}/{week}/", "2026/week07", HISTORICAL),
        ("{year}/{week}/", "20260/week07/a.json", HISTORICAL),
        ("{date}/", "2026-02-01/a.json", "2026-02-01"),
        ("{date}/", "20260201/a.json", HISTORICAL),
        ("year={year}/month={month}/", "year=2026/month=2/a.json", "year=2026/month=2"),
        ("{year}/{month}/{day}/{hour}/", "2026/02/01/23/a.json", "2026/02/01/23"),
        ("{region}/{date}/", "eu west/2026-02-01/a.json", "eu west/2026-02-01"),
        ("v1.0/{date}/", "v1.0/2026-02-01/a.json", "v1.0/2026-02-01"),
        ("v1.0/{date}/", "v1x0/2026-02-01/a.json", HISTORICAL),
        ("", "2026/week07/a.json", HISTORICAL),
    ],
)
def test_group_of(template: str, key: str, group: str) -> None:
    assert GroupTemplate.parse(template).group_of(key) == group


@pytest.mark.parametrize("text", ["{year/", "year}/", "{}/", "{a b}/", "{{year}}/", "{year}/{year}/"])
def test_template_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"brace|twice"):
        GroupTemplate.parse(text)


@pytest.mark.parametrize(
    ("group_template", "group", "text", "filled"),
    [
        ("{date}/", "2026-02-01", "out/merged-{date}/", "out/merged-2026-02-01/"),
        ("{date}/", HISTORICAL, "out/merged-{date}/", "out/merged-historical/"),
        ("{year}/{week}/", "2026/week07", "out/{week}/{year}/", "out/week07/2026/"),
        ("{region}/", "..", "out/{region}/", "out/_/"),
        ("{region}/", "a=b c", "out/{region}/", "out/a_b_c/"),
        ("", HISTORICAL, "out/", "out/"),
    ],
)
def test_a_text_is_filled_with_what_the_group_says(group_template: str, group: str, text: str, filled: str) -> None:
    assert GroupTemplate.parse(group_template).fill(text, group) == filled


@given(st.text(max_size=40))
def test_parsing_either_refuses_a_text_or_gives_a_template_that_answers(text: str) -> None:
    try:
        template = GroupTemplate.parse(text)
    except ValueError:
        return
    assert template.group_of("2026/week07/a.json")


@given(st.lists(SEGMENT, min_size=2, max_size=2), st.lists(SEGMENT, min_size=1, max_size=3))
def test_free_placeholders_take_one_segment_each(named: list[str], rest: list[str]) -> None:
    group = GroupTemplate.parse("{tenant}/{feed}/").group_of("/".join([*named, *rest]))
    assert group == "/".join(named)


@given(st.lists(SEGMENT, min_size=1, max_size=5))
def test_a_group_is_the_beginning_of_its_key_or_historical(segments: list[str]) -> None:
    key = "/".join(segments)
    group = GroupTemplate.parse("{year}/{week}/").group_of(key)
    assert group == HISTORICAL or key.startswith(group + "/")


@given(st.integers(1000, 9999), st.integers(0, 53), SEGMENT)
def test_files_of_one_week_share_a_group_whatever_their_names(year: int, week: int, name: str) -> None:
    template = GroupTemplate.parse("{year}/{week}/")
    assert template.group_of(f"{year}/week{week:02}/{name}") == f"{year}/week{week:02}"
