"""`lake audit`: each difference between store, ledger and outputs is found by its name, and mended where it can be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from lake_pipeline.audit.audit import audit
from lake_pipeline.audit.classes import CLASSES
from lake_pipeline.audit.listings import StoreListing
from lake_pipeline.audit.repair import Mended, Repair
from lake_pipeline.audit.scope import Scope
from lake_pipeline.audit.spool import spooled
from lake_pipeline.lake import Lake
from lake_pipeline_tests.conftest import fresh_database
from lake_pipeline_tests.damages import DAMAGES, FLAT, TRIPS, Found, fill, found
from lake_pipeline_tests.lakes import lake_of, states


@dataclass(frozen=True)
class Original:
    """A lake that is as it should be: its home, and the name of its database, to be cloned."""

    home: Path
    postgres_url: str
    database: str

    @contextmanager
    def copy(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Lake]:
        """The same lake once more; its objects are hard links, so that they keep their ETags."""
        shutil.copytree(self.home, home, copy_function=_link)
        for database_url in fresh_database(self.postgres_url, self.database):
            with lake_of(monkeypatch, home, database_url, FLAT, TRIPS) as lake:
                yield lake


def _link(source: str, target: str) -> None:
    if source.endswith((".yaml", ".duckdb", ".lock")):
        shutil.copyfile(source, target)
    else:
        Path(target).hardlink_to(source)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_database: str) -> Iterator[Original]:
    home = tmp_path_factory.mktemp("original")
    for database_url in fresh_database(postgres_url, template_database):
        with pytest.MonkeyPatch.context() as monkeypatch, lake_of(monkeypatch, home, database_url, FLAT, TRIPS) as lake:
            fill(lake)
        yield Original(home, postgres_url, psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])


@pytest.fixture
def lake(original: Original, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lake]:
    with original.copy(monkeypatch, tmp_path / "copy") as copied:
        yield copied


def repaired(lake: Lake, scratch: Path, *, dry_run: bool = False) -> list[Mended]:
    """What a repair of every dataset says."""
    return [
        mended
        for dataset in lake.datasets.values()
        for mended in Repair(lake, dataset, dry_run)(
            spooled(audit(Scope(lake, dataset, StoreListing(lake.store), settle_seconds=0.01)), scratch)
        )
    ]


def damage_all(lake: Lake, *, but: tuple[str, ...] = ()) -> Found:
    return {item for name, damage in DAMAGES.items() if name not in but for item in damage(lake)}


def ledger_dump(lake: Lake) -> list[tuple[object, ...]]:
    with psycopg.connect(lake.settings.database_url or "") as connection:
        return [
            row
            for table in ("file_processing_status", "manifests", "outputs")
            for row in connection.execute(f"SELECT * FROM lake.{table} ORDER BY 1, 2".encode()).fetchall()
        ]


def test_a_lake_as_it_should_be_has_no_difference(lake: Lake) -> None:
    assert set(states(lake).values()) == {"SUCCEEDED", "QUARANTINED", "SUPERSEDED", "PENDING"}
    assert found(lake) == set()
    assert found(lake, quick=True) == set()


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_found_by_its_name_and_nothing_else_is(lake: Lake, name: str) -> None:
    expected = DAMAGES[name](lake)
    assert found(lake) == expected
    assert {kind for kind, _ in expected} <= CLASSES.keys()


def test_a_quick_audit_opens_no_curated_file_but_for_footers(lake: Lake) -> None:
    expected = damage_all(lake)
    assert expected - found(lake, quick=True) == {
        *(item for item in expected if item[0] in ("file_rows", "records_changed")),
        ("output_rows", "trips/2026/x.json"),
    }
