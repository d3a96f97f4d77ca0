"""Which spool: of one database only, however it is called."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest

from otel_runs.export.spooling import Beside, spool_of_database, spool_of_endpoint, spools_beside, spools_of_endpoints

pytestmark = pytest.mark.usefixtures("_in_a_project_of_its_own")


HERE = "postgresql://me:secret@db.example/runs"


def folder_of(url: str) -> Path:
    spool = spool_of_database(url)
    assert spool is not None
    return spool.folder


@pytest.mark.parametrize(
    "same",
    [
        "postgresql+psycopg://me:other@db.example/runs",
        "postgres://me@db.example:5432/runs",
        "postgresql://me:p%40ss@db.example/runs?sslmode=require&password=x",
        "postgresql://me@db.example/runs?options=-cstatement_timeot%3D9000",
        "postgresql://me@db.example/runs?options=-c%20statement_timeout%3D9000&application_name=x",
    ],
)
def test_a_database_has_one_spool_however_its_url_is_written(same: str) -> None:
    assert folder_of(same) == folder_of(HERE)


@pytest.mark.parametrize(
    "different",
    [
        "postgresql://me@db.example/runs2",
        "postgresql://me@other.example/runs",
        "postgresql://me@db.example:6432/runs",
        "postgresql://me@db.example/runs?options=-csearch_path%3Dtenant",
        "postgresql://you@db.example/runs",
    ],
)
def test_two_databases_never_share_a_spool(different: str) -> None:
    assert folder_of(different) != folder_of(HERE)


TENANT = f"{HERE}?options=-csearch_path%3Dtenant"


@pytest.mark.parametrize(
    "options",
    [
        "-c search_path=tenant",
        "--search-path=tenant",
        "-csearch_path=other -cstatement_timeout=9 -csearch_path=tenant -c application_name=a\\ b",
    ],
)
def test_a_schema_has_one_spool_however_the_options_are_written(options: str) -> None:
    assert folder_of(f"{HERE}?{urlencode({'options': options})}") == folder_of(TENANT) != folder_of(HERE)


def test_spools_beside_one_are_those_in_which_spans_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_of_database("a.db")
    assert spool is not None
    assert spools_beside(spool) == []
    parent = tmp_path / ".otel_runs" / "spool"
    for name, files in (("runs-1", 2), ("otlp-a_4318-2", 1), ("empty-3", 0)):
        (parent / name).mkdir(parents=True)
        for number in range(files):
            (parent / name / f"{number}.jsonl").touch()
    (parent / "file").touch()
    found = [Beside(parent / "otlp-a_4318-2", 1, is_endpoints=True), Beside(parent / "runs-1", 2, is_endpoints=False)]
    assert spools_beside(spool) == found

    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert spools_beside(spool) == []


@pytest.mark.parametrize("word", ["off", "OFF", "False", "none", "no", "0"])
def test_words_for_off_keep_nothing_and_are_no_folders(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("OTEL_RUNS_SPOOL", word)
    assert spool_of_database(HERE) is None
    assert spool_of_endpoint("http://a:4318") is None
    assert spools_of_endpoints() == []


@pytest.mark.parametrize("word", ["on", "True", "yes", "1"])
def test_words_for_on_mean_the_usual_place(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    usual = folder_of(HERE), folder_of("a.db")
    monkeypatch.setenv("OTEL_RUNS_SPOOL", word)
    assert (folder_of(HERE), folder_of("a.db")) == usual


@pytest.mark.parametrize(
    "url",
    [
        HERE,
        "postgresql://me:se:cr@et/secret@db.example/runs",
        "postgresql://db.example/runs?password=secret",
        "me:secret@db.example/runs",
        "host=db.example password=secret",
    ],
)
def test_no_password_is_in_the_name_of_a_spool(url: str) -> None:
    assert "secret" not in str(folder_of(url))


def test_spool_is_beside_the_file_in_a_folder_called_like_a_percent_encoded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "feature%2Ffoo"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for url in ("a.db", "sqlite:///a.db", "sqlite:///a.db?timeout=1"):
        assert folder_of(url) == folder / "a.db-spool"


def test_sqlite_has_its_spool_beside_the_file_and_all_have_it_where_the_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("a.db", f"sqlite:///{tmp_path}/a.db?timeout=1"):
        assert folder_of(url) == tmp_path / "a.db-spool"
    server = folder_of(HERE)
    assert server.parent == tmp_path / ".otel_runs" / "spool"
    assert server.name.startswith("runs-")
    monkeypatch.setenv("OTEL_RUNS_SPOOL", "elsewhere")
    moved = {folder_of(url) for url in ("a.db", "sub/a.db", HERE)}
    assert {folder.parent for folder in moved} == {tmp_path / "elsewhere"}
    assert len(moved) == 3
