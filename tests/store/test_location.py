from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import URL

from otel_runs.errors import SettingsError
from otel_runs.store.folder import settled_url
from otel_runs.store.location import database_url, shown


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def _default_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    return Path(str(database_url().database))


@pytest.mark.parametrize("mark", [".otel_runs", ".git", "pyproject.toml"])
def test_default_is_in_the_nearest_project_directory_upwards(
    home: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    (home / "project" / mark).mkdir(parents=True)
    (home / "pyproject.toml").touch()
    found = _default_from(home / "project" / "a" / "b", monkeypatch)
    assert found == home / "project" / ".otel_runs" / "runs.db"


def test_default_without_project_is_in_the_working_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _default_from(home / "notes", monkeypatch) == home / "notes" / ".otel_runs" / "runs.db"


def test_default_is_never_above_the_home_directory(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    assert _default_from(home / "notes", monkeypatch) == home / "notes" / ".otel_runs" / "runs.db"


def test_default_creates_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _default_from(home, monkeypatch)
    assert list(home.iterdir()) == []


def test_variable_names_the_database_and_an_argument_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RUNS_DB", str(tmp_path / "from_variable.db"))
    assert database_url().database == str(tmp_path / "from_variable.db")
    assert database_url(tmp_path / "from_argument.db").database == str(tmp_path / "from_argument.db")


@pytest.mark.parametrize("given", ["data/runs.db", Path("data/runs.db"), "sqlite:///data/runs.db"])
def test_relative_path_is_fixed_when_it_is_given(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: str | Path
) -> None:
    monkeypatch.chdir(home)
    assert database_url(given) == URL.create("sqlite", database=str(home / "data" / "runs.db"))


def test_tilde_is_the_home_directory(home: Path) -> None:
    assert database_url("~/runs.db").database == str(home / "runs.db")
    assert database_url("sqlite:///~/runs.db").database == str(home / "runs.db")
    assert settled_url("sqlite:///~/runs.db") == settled_url("~/runs.db") == str(home / "runs.db")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_url_names_psycopg_3_on_every_sqlalchemy(scheme: str) -> None:
    url = database_url(f"{scheme}://ada@db.example/history?options=-csearch_path%3Dteam_a")
    assert url.drivername == "postgresql+psycopg"
    assert url.query["options"] == "-csearch_path=team_a"


@pytest.mark.parametrize(
    "given",
    [
        "mysql://ada@db.example/history",
        "postgresql+psycopg2://ada@db.example/history",
        "sqlite+aiosqlite:///runs.db",
        "sqlite://",
        "sqlite:///:memory:",
        ":memory:",
        "sqlite:///file:runs.db?uri=true",
        "sqlite:runs.db",
        "postgresql:history",
        "ada:@db.example/history",
        "u:@db.example/history",
        "ada-b:@db.example/history",
        "host=db.example dbname=history",
        "password=x",
        "PASSWORD = x dbname=history",
        "://",
    ],
)
def test_url_that_cannot_be_used_is_a_settings_error(given: str) -> None:
    with pytest.raises(SettingsError):
        database_url(given)


def test_unsupported_url_says_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"names 'mysql'; expected the path of an SQLite file, sqlite:///"):
        database_url("mysql://ada@db.example/history")


@pytest.mark.parametrize(
    "given",
    [
        "mysql://ada:s3cret@db.example/history",
        "postgresql://ada:s3cret@db.example:port/history",
        "postgresql://ada:p/s3cret@db.example:54x/history",
        "postgresql://ada:pa@s3cret@db.example/history",
        "nothing://ada:s3cret@db.example/history?password=s3cret",
        "postgresql://ada/x:s3cret@db.example/history",
        "mysql://ada@db.example/history?PASSWORD=s3cret",
        "postgres:ada:s3cret@db.example/history",
        "postgresql:/ada:s3cret@db.example/history",
        "ada:s3cret@db.example/history",
        "u:s3cret@db.example/history",
        "ada-b:pa/s3cret@db.example/history",
        "host=db.example user=ada password=s3cret dbname=history",
        "host=db.example user=ada PASSWORD = 's3cret and more' dbname=history",
    ],
)
def test_password_is_in_no_message(given: str) -> None:
    with pytest.raises(SettingsError) as caught:
        database_url(given)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__ if error.__suppress_context__ else error.__context__


def test_shown_url_has_no_password_in_user_part_or_query() -> None:
    url = database_url("postgresql://ada:s3cret@db.example/history?password=s3cret&sslpassword=s3cret&sslmode=require")
    assert "s3cret" not in shown(url)
    assert "db.example/history" in shown(url)
    assert "sslmode=require" in shown(url)


def test_shown_url_has_no_password_in_any_case_of_letters() -> None:
    assert "s3cret" not in shown(URL.create("postgresql", host="db.example", query={"PASSWORD": "s3cret"}))
    assert "s3cret" not in shown("postgresql:/ada:s3cret@db.example/history?PASSWORD=s3cret")


@pytest.mark.parametrize("given", ["sqlite:///runs.db", "sqlite:///runs.db?timeout=60", "runs.db"])
def test_working_directory_may_be_called_like_a_percent_encoded_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    folder = home / "feature%2Ffoo?"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert database_url(given).database == database_url(settled_url(given)).database == str(folder / "runs.db")
    assert database_url(settled_url(given)).query == database_url(given).query


def test_path_in_a_url_is_percent_decoded_on_every_sqlalchemy(home: Path) -> None:
    assert database_url(f"sqlite:///{home}/a%20b.db").database == str(home / "a b.db")


@pytest.mark.parametrize("given", ["./ada:x@db.example", "/data/ada:x@db.example", "./a=1 password=x", "user=ada/x.db"])
def test_path_that_looks_like_a_connection_can_be_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(home)
    assert database_url(given).database == str(home / given)
    assert database_url(settled_url(given)).database == str(home / given)


def test_empty_name_is_the_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert database_url("") == database_url()
    assert settled_url("") == settled_url()
    monkeypatch.setenv("OTEL_RUNS_DB", "")
    assert database_url().database == str(home / ".otel_runs" / "runs.db")
    monkeypatch.setenv("OTEL_RUNS_DB", "history.db")
    assert database_url("").database == settled_url("") == str(home / "history.db")


def test_shown_sqlite_url_is_its_path(tmp_path: Path) -> None:
    assert shown(database_url(tmp_path / "runs.db")) == str(tmp_path / "runs.db")
