"""Errors of real drivers come out as ours, and say what to do."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import InvalidRequestError

from otel_runs.errors import SchemaError, StoreAccessError, StoreError, StoreUnavailableError
from otel_runs.store.dialects import dialect_named
from otel_runs.store.engine import Database, open_database
from tests.conftest import NewPostgresUrl
from tests.servers.postgres import PostgresServer
from tests.store.samples import insert_run
from tests.waiting import wait_until


def test_errors_that_are_not_the_drivers_pass_unchanged(database: Database) -> None:
    for error in (KeyError("mine"), StoreError("ours"), InvalidRequestError("SQLAlchemy's own")):
        with pytest.raises(type(error)) as caught, database.write():
            raise error
        assert caught.value is error


def test_cause_is_the_drivers_error(database: Database) -> None:
    with pytest.raises(StoreError) as caught, database.write() as connection:
        connection.exec_driver_sql("SELEC")
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError | psycopg.errors.SyntaxError)
    assert not database.dialect.transient(caught.value)


def test_unknown_table_or_column_is_a_schema_error(database: Database) -> None:
    for query in ("SELECT 1 FROM no_such_table", "SELECT no_such_column FROM runs"):
        with pytest.raises(SchemaError, match="lacks a table or column; run: otel-runs db check"), database.read() as c:
            c.exec_driver_sql(query)


def _driver_of(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def test_error_of_a_driver_cursor_is_translated_too(new_postgres_url: NewPostgresUrl) -> None:
    copying = "COPY environments (name, created_at, updated_at) FROM STDIN"
    with (
        open_database(new_postgres_url()) as database,
        pytest.raises(StoreError) as caught,
        database.write() as connection,
        _driver_of(connection).cursor().copy(copying) as copy,
    ):
        copy.write_row(("prod", "not a time", "not a time"))
    assert isinstance(caught.value.__cause__, psycopg.errors.DataError)


# SQLite.


def test_full_disk_is_unavailable(tmp_path: Path) -> None:
    with open_database(tmp_path / "runs.db") as database, database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        with pytest.raises(StoreUnavailableError, match="the disk is full"), database.write() as writer:
            writer.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            insert_run(writer, "a", error="x" * 100_000)


def test_damaged_file_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with (
        pytest.raises(StoreError, match=r"is damaged.*\.recover"),
        open_database(path) as database,
        database.write() as connection,
    ):
        insert_run(connection, "a")


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that others can enter: pytest's own are closed."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def _error_without_rights(path: Path, *, create: bool) -> str:
    program = Path(__file__).with_name("open_unprivileged.py")
    done = subprocess.run(
        [sys.executable, program, path, str(create)], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def test_folder_that_may_not_be_made_is_an_access_error(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    error = _error_without_rights(public_folder / ".otel_runs" / "runs.db", create=True)
    assert error.startswith("StoreAccessError")
    assert ".otel_runs' of the run database cannot be made or read (Permission denied)" in error
    assert "--db, OTEL_RUNS_DB" in error


def test_folder_that_may_not_be_written_is_an_access_error(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    error = _error_without_rights(public_folder / "runs.db", create=True)
    assert error.startswith("StoreAccessError")
    assert "runs.db cannot be opened" in error


@pytest.mark.parametrize("create", [True, False])
def test_file_that_may_not_be_written_is_an_access_error(public_folder: Path, create: bool) -> None:
    path = public_folder / "runs.db"
    open_database(path).close()
    path.chmod(0o444)
    public_folder.chmod(0o555)
    error = _error_without_rights(path, create=create)
    assert error.startswith("StoreAccessError")
    assert "chmod u+" in error


@pytest.mark.parametrize("create", [True, False])
def test_path_that_is_a_folder_is_told_as_such(tmp_path: Path, create: bool) -> None:
    with pytest.raises(StoreAccessError, match=r"is a directory; name a file in it, for instance .*/runs\.db"):
        open_database(tmp_path, create=create)


def test_path_below_a_file_is_an_access_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreAccessError, match="Not a directory"):
        open_database(tmp_path / "file" / "runs.db")


# PostgreSQL.


def test_server_that_does_not_answer_is_unavailable_and_worth_another_try() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"postgresql://ada:s3cret@127.0.0.1:{closed.getsockname()[1]}/history"
        with pytest.raises(StoreUnavailableError, match="cannot be reached; check that the server runs") as caught:
            open_database(url)
    assert "s3cret" not in str(caught.value)
    assert dialect_named("postgresql").transient(caught.value)


def test_unknown_database_says_how_to_make_it(new_postgres_url: NewPostgresUrl) -> None:
    url = make_url(new_postgres_url()).set(database="no_such_database")
    with pytest.raises(StoreAccessError, match="does not exist; create it") as caught:
        open_database(url)
    assert not dialect_named("postgresql").transient(caught.value)


@pytest.fixture
def role(server_url: Callable[[str], str]) -> Iterator[Callable[[str, str], str]]:
    """Makes a role on our own server, and gives the URL that it connects with."""
    server = make_url(server_url("postgres18"))
    address = server.set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[str] = []

    def make(name: str, password: str) -> str:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        made.append(name)
        return server.set(username=name).render_as_string(hide_password=False)

    yield make
    with psycopg.connect(address, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP ROLE {name}".encode())


def test_wrong_password_is_an_access_error_that_does_not_repeat_it(role: Callable[[str, str], str]) -> None:
    url = make_url(role("needs_password", "right")).set(password="wr0ng")
    with pytest.raises(StoreAccessError, match="refuses this user; check name, password") as caught:
        open_database(url)
    assert "wr0ng" not in str(caught.value)
    assert not dialect_named("postgresql").transient(caught.value)


def test_unknown_role_is_not_taken_for_an_unknown_database(new_postgres_url: NewPostgresUrl) -> None:
    url = make_url(new_postgres_url()).set(username="no_such_role")
    with pytest.raises(StoreAccessError, match="refuses this user; check name, password"):
        open_database(url)


@pytest.mark.parametrize("options", ['-csearch_path="team b"', "-csearch_paht=team_a"])
def test_option_that_the_server_does_not_take_is_told_as_such(role: Callable[[str, str], str], options: str) -> None:
    url = make_url(role("mistaken", "x")).update_query_dict({"options": options})
    with pytest.raises(StoreAccessError, match="refuses an option; correct"):
        open_database(url)


def test_role_that_may_not_use_the_schema_is_told_what_to_grant(
    server_url: Callable[[str], str], role: Callable[[str, str], str]
) -> None:
    own_schema = {"options": "-csearch_path=closed_to_others"}
    open_database(make_url(server_url("postgres18")).update_query_dict(own_schema)).close()
    stranger = make_url(role("stranger", "x")).update_query_dict(own_schema)
    for create in (True, False):
        with pytest.raises(StoreAccessError, match="refuses this user; GRANT USAGE ON SCHEMA"):
            open_database(stranger, create=create)


@pytest.mark.parametrize("search_path", ["public", "no_such_schema"])
def test_role_that_may_create_nothing_gets_an_access_error(role: Callable[[str, str], str], search_path: str) -> None:
    url = make_url(role("reader", "x")).update_query_dict({"options": f"-csearch_path={search_path}"})
    with pytest.raises(StoreAccessError, match=r"refuses this user.*permission denied for"):
        open_database(url)


def test_search_path_without_any_schema_is_a_schema_error(role: Callable[[str, str], str]) -> None:
    url = make_url(role("lost", "x")).update_query_dict({"options": '-csearch_path="$user"'})
    with pytest.raises(SchemaError, match="names no schema that exists"):
        open_database(url)


def test_race_for_a_key_is_worth_another_try(new_postgres_url: NewPostgresUrl) -> None:
    with open_database(new_postgres_url()) as database:
        with pytest.raises(StoreError) as caught, database.write() as connection:
            insert_run(connection, "a")
            insert_run(connection, "a")
        assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)
        assert database.dialect.transient(caught.value)


def test_deadlock_is_unavailable_and_worth_another_try(new_postgres_url: NewPostgresUrl) -> None:
    errors: list[StoreError] = []
    both = threading.Barrier(2, timeout=10)
    with open_database(new_postgres_url()) as database:
        with database.write() as connection:
            insert_run(connection, "a")
            insert_run(connection, "b")

        def lock(first: str, second: str) -> None:
            try:
                with database.write() as connection:
                    connection.exec_driver_sql("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (first,))
                    both.wait()
                    connection.exec_driver_sql("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (second,))
            except StoreError as exc:
                errors.append(exc)

        threads = [threading.Thread(target=lock, args=pair) for pair in (("a", "b"), ("b", "a"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [type(error) for error in errors] == [StoreUnavailableError]
        assert database.dialect.transient(errors[0])


def test_connection_lost_in_a_transaction_is_unavailable_and_worth_another_try(
    new_postgres_url: NewPostgresUrl,
) -> None:
    with open_database(new_postgres_url()) as database, open_database(new_postgres_url()) as other:
        with pytest.raises(StoreUnavailableError) as caught, database.write() as connection:
            backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with other.read() as killer:
                killer.exec_driver_sql("SELECT pg_terminate_backend(%s)", (backend,))
            insert_run(connection, "a")
        assert database.dialect.transient(caught.value)
        with database.write() as connection:
            insert_run(connection, "a")


@pytest.mark.parametrize("limit", ["idle_in_transaction_session_timeout", "transaction_timeout"])
def test_transaction_that_the_server_ended_for_its_length_is_worth_another_try(
    server_url: Callable[[str], str], limit: str
) -> None:
    server = server_url("postgres18")
    limited = make_url(server).update_query_dict({"options": f"-csearch_path={limit}"})
    with open_database(limited) as database, psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as other:
        with pytest.raises(StoreUnavailableError, match="took longer than it allows") as caught, database.write() as c:
            insert_run(c, "a")
            c.exec_driver_sql(f"SET {limit} = 50")
            backend = _driver_of(c).info.backend_pid
            alive = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: not other.execute(alive, (backend,)).fetchall())
            insert_run(c, "b")
        assert database.dialect.transient(caught.value)
        with database.write() as connection:
            insert_run(connection, "a")


def test_too_many_connections_of_a_role_are_told_as_such_and_worth_another_try(
    server_url: Callable[[str], str], role: Callable[[str, str], str]
) -> None:
    limited = role("limited", "x")
    with open_database(server_url("postgres18")) as other, other.write() as connection:
        connection.exec_driver_sql("ALTER ROLE limited CONNECTION LIMIT 0")
    with pytest.raises(StoreUnavailableError, match=r'has too many connections; .*for role "limited"') as caught:
        open_database(limited)
    assert dialect_named("postgresql").transient(caught.value)


def test_too_many_connections_of_the_server_are_told_as_such_and_worth_another_try(
    own_postgres: PostgresServer,
) -> None:
    with ExitStack() as taken:
        with suppress(psycopg.OperationalError):
            while True:
                taken.enter_context(closing(psycopg.connect(own_postgres.url.replace("+psycopg", ""))))
        with pytest.raises(StoreUnavailableError, match="has too many connections; try again") as caught:
            open_database(own_postgres.url)
    assert dialect_named("postgresql").transient(caught.value)
