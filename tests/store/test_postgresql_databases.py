"""PostgreSQL databases that somebody else has set up, and what may stand between them and us."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import URL, make_url, select

from otel_runs.errors import StoreError, StoreValueError
from otel_runs.ingest import Ingest
from otel_runs.ingest.splitting import save_splitting
from otel_runs.store import tables
from otel_runs.store.engine import open_database
from tests.ingest.stored import save, stored_runs
from tests.ingest.traces import span
from tests.store.samples import insert_run

NewDatabase = Callable[..., URL]


@pytest.fixture
def new_database(server_url: Callable[[str], str]) -> Iterator[NewDatabase]:
    """Makes databases on our own server: with options of CREATE DATABASE and settings of their own."""
    server = make_url(server_url("postgres18"))
    address = server.set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[str] = []

    def make(options: str = "", **settings: str) -> URL:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}".encode())
            made.append(name)
            for setting, value in settings.items():
                connection.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'".encode())
        return server.set(database=name)

    yield make
    with psycopg.connect(address, autocommit=True) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres, MDY", "ISO, DMY"])
def test_times_come_back_whatever_the_databases_date_style(new_database: NewDatabase, style: str) -> None:
    with open_database(new_database(datestyle=style)) as database:
        save(database, [span(0, open_=True)], [span(0, end=5)])
        assert [run["status"] for run in stored_runs(database).values()] == ["completed"]


def test_time_that_the_driver_cannot_read_is_a_store_error(new_database: NewDatabase) -> None:
    with open_database(new_database()) as database:
        with database.write() as connection:
            insert_run(connection, "a")
        with pytest.raises(StoreError, match="can't parse timestamptz"), database.read() as connection:
            connection.exec_driver_sql("SET LOCAL datestyle = 'German'")
            connection.execute(select(tables.runs.c.started_at)).all()


def test_database_without_an_encoding_keeps_every_letter(new_database: NewDatabase) -> None:
    with open_database(new_database("ENCODING 'SQL_ASCII' LOCALE 'C'")) as database:
        save(database, [span(0, name="Zürich → Genève")])
        assert [run["name"] for run in stored_runs(database).values()] == ["Zürich → Genève"]


def test_letter_that_the_databases_encoding_lacks_costs_only_its_own_trace(new_database: NewDatabase) -> None:
    with open_database(new_database("ENCODING 'LATIN1' LOCALE 'C'")) as database:
        refused = save_splitting(Ingest(database), [span(0, name="Zürich"), span(0, name="to → from", trace=1)])
        assert [each.span.name for each in refused] == ["to → from"]
        assert isinstance(refused[0].error, StoreValueError)
        assert 'has no equivalent in encoding "LATIN1"' in refused[0].reason
        assert [run["name"] for run in stored_runs(database).values()] == ["Zürich"]


def test_connection_whose_temporary_tables_are_gone_goes_on_writing(new_database: NewDatabase) -> None:
    """As behind a pooler such as PgBouncer, where each transaction may have another connection of the server's."""
    with open_database(new_database()) as database:
        for number in range(3):
            save(database, [span(0, trace=number, end=5), span(1, 0, trace=number)])
            with database.write() as connection:
                connection.exec_driver_sql("DISCARD TEMP")
        assert len(stored_runs(database)) == 3


@pytest.mark.parametrize("path", ["$user,public", "$USER, public", '"$user",public'])
def test_search_path_of_the_user_is_the_first_schema_that_exists(new_database: NewDatabase, path: str) -> None:
    url = new_database()
    options = f"-csearch_path={path}".replace(", ", ",\\ ")
    open_database(url.update_query_dict({"options": options})).close()
    with open_database(url, create=False) as database, database.read() as connection:
        schemas = connection.exec_driver_sql("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename ~ 'runs'")
        assert schemas.scalars().all() == ["public"]
