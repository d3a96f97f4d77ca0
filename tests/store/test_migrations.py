from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, inspect, make_url, text

from otel_runs.errors import NotFoundError, SchemaError, StoreError
from otel_runs.store import migrations, tables
from otel_runs.store.engine import Database, open_database, schema_state, upgrade
from tests.at_once import at_once
from tests.conftest import NewPostgresUrl


def _not_the_version_table(_object: object, name: str | None, type_: str, *_rest: object) -> bool:
    return not (type_ == "table" and name == migrations.VERSION_TABLE)


def test_migrated_database_equals_the_metadata(database: Database) -> None:
    options = {"compare_type": True, "include_object": _not_the_version_table}
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def _described(connection: Connection) -> dict[str, object]:
    """All that an inspector sees of our tables, partial indexes' conditions and server's defaults included."""
    inspector = inspect(connection)
    description: dict[str, object] = {}
    for table in tables.metadata.tables:
        columns = [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)]
        indexes = sorted(inspector.get_indexes(table), key=lambda index: str(index["name"]))
        for index in indexes:
            options = index.get("dialect_options", {})
            index["dialect_options"] = {name: str(value) for name, value in options.items()}
        description[table] = (
            columns,
            indexes,
            inspector.get_pk_constraint(table),
            sorted(inspector.get_foreign_keys(table), key=lambda key: str(key["name"])),
            inspector.get_unique_constraints(table),
        )
    return description


def test_sqlite_migrations_make_the_same_indexes_keys_and_defaults_as_create_all(tmp_path: Path) -> None:
    created = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    tables.metadata.create_all(created)
    with created.connect() as wanted, open_database(tmp_path / "runs.db") as database, database.read() as found:
        assert _described(found) == _described(wanted)
    created.dispose()


def test_postgresql_migrations_make_the_same_indexes_keys_and_defaults_as_create_all(
    new_postgres_url: NewPostgresUrl,
) -> None:
    created = create_engine(new_postgres_url())
    tables.metadata.create_all(created)
    with created.connect() as wanted, open_database(new_postgres_url()) as database, database.read() as found:
        assert _described(found) == _described(wanted)
    created.dispose()


def test_described_schema_tells_a_partial_index_from_a_whole_one(tmp_path: Path) -> None:
    with open_database(tmp_path / "runs.db") as database, database.write() as connection:
        before = _described(connection)
        connection.exec_driver_sql("DROP INDEX ix_runs_tenant_id")
        connection.exec_driver_sql("CREATE INDEX ix_runs_tenant_id ON runs (tenant_id)")
        assert _described(connection) != before


def test_listed_revisions_are_the_ones_in_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    in_folder = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(in_folder)) == migrations.REVISIONS


@pytest.mark.timeout(60)
def test_eight_processes_open_an_empty_database_at_once(database_url_for_test: str) -> None:
    program = Path(__file__).with_name("open_at_once.py")
    subprocess.run([sys.executable, program, database_url_for_test, "8"], check=True, timeout=50)
    with open_database(database_url_for_test, create=False) as database:
        assert database.missing_parts() == ()


def test_threads_of_one_process_make_databases_in_different_folders_at_once(tmp_path: Path) -> None:
    files = [tmp_path / letter / "runs.db" for letter in "abcd"]
    at_once(*(partial(upgrade, file) for file in files))
    for file in files:
        with open_database(file, create=False) as database:
            assert database.missing_parts() == ()


def test_opening_a_database_that_is_up_to_date_does_not_import_alembic(database_url_for_test: str) -> None:
    open_database(database_url_for_test).close()
    program = (
        "import sys; from otel_runs.store.engine import open_database; "
        "open_database(sys.argv[1]).close(); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, database_url_for_test], check=True, timeout=30)


def test_second_upgrade_changes_nothing(database_url_for_test: str) -> None:
    assert upgrade(database_url_for_test).pending == migrations.REVISIONS
    assert upgrade(database_url_for_test).pending == ()
    assert schema_state(database_url_for_test).current == migrations.HEAD


def test_older_revision_is_told_as_pending_and_refused_without_create(
    database_url_for_test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_database(database_url_for_test).close()
    monkeypatch.setattr(migrations, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(migrations, "HEAD", "0002")
    assert schema_state(database_url_for_test).pending == ("0002",)
    with pytest.raises(SchemaError, match="at revision 0001, this version needs 0002: otel-runs db upgrade"):
        open_database(database_url_for_test, create=False)


def test_failed_migration_leaves_nothing(database_url_for_test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("otel_runs.store.schema.VIEWS", {"v_runs": "SELECT FROM WHERE"})
        with pytest.raises(StoreError, match="syntax error"):
            open_database(database_url_for_test)
    with pytest.raises(NotFoundError):
        schema_state(database_url_for_test)
    with open_database(database_url_for_test) as database:
        assert database.missing_parts() == ()


def _set_revision(database: Database, revision: str) -> None:
    with database.write() as connection:
        connection.execute(
            text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = :revision"), {"revision": revision}
        )


@pytest.mark.parametrize("create", [True, False])
def test_newer_database_is_refused_and_left_as_it_is(database_url_for_test: str, create: bool) -> None:
    with open_database(database_url_for_test) as database:
        _set_revision(database, "9999")
        with pytest.raises(SchemaError, match=r"newer otel_runs \(revision '9999'.*pip install --upgrade otel-runs"):
            open_database(database_url_for_test, create=create)
        with database.read() as connection:
            found = connection.exec_driver_sql(f"SELECT version_num FROM {migrations.VERSION_TABLE}").scalar()
    assert found == "9999"


@pytest.mark.parametrize("create", [True, False])
def test_database_with_a_runs_table_of_its_own_is_refused_and_left_as_it_is(
    database_url_for_test: str, create: bool
) -> None:
    foreign = create_engine(database_url_for_test)
    with foreign.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (distance INTEGER)")
    with pytest.raises(SchemaError, match="tables of another program named runs"):
        open_database(database_url_for_test, create=create)
    assert inspect(foreign).get_table_names() == ["runs"]
    foreign.dispose()


def test_foreign_sqlite_file_is_not_changed_by_a_byte(tmp_path: Path) -> None:
    path = tmp_path / "marathon.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (distance INTEGER)")
    before = path.read_bytes()
    with pytest.raises(SchemaError):
        open_database(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_tables_of_other_names_stay_beside_ours(database_url_for_test: str) -> None:
    other = create_engine(database_url_for_test)
    with other.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")
    open_database(database_url_for_test).close()
    with other.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "theirs"
    other.dispose()


@pytest.mark.parametrize("create", [True, False])
def test_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 100)
    with pytest.raises(SchemaError, match=r"letter\.txt is not an SQLite database"):
        open_database(path, create=create)
    assert path.read_text() == "Dear reader, " * 100


def test_missing_parts_names_tables_columns_and_views(database: Database) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DROP VIEW v_runs")
        connection.exec_driver_sql("ALTER TABLE environments DROP COLUMN commit_ref")
        connection.exec_driver_sql("DROP TABLE column_lineage")
    assert database.missing_parts() == ("column_lineage", "environments.commit_ref", "v_runs")


def test_without_create_nothing_is_made(database_url_for_test: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no run history yet"):
        open_database(database_url_for_test, create=False)
    with pytest.raises(NotFoundError):
        schema_state(database_url_for_test)
    assert list(tmp_path.iterdir()) == []


def _schema_url(url: str, search_path: str) -> URL:
    return make_url(url).update_query_dict({"options": f"-csearch_path={search_path}"})


def _tables_of(url: str, schema: str) -> set[str]:
    engine = create_engine(url)
    found = set(inspect(engine).get_table_names(schema=schema))
    engine.dispose()
    return found


def test_missing_schema_is_created_and_not_the_next_one_of_the_path_taken(new_postgres_url: NewPostgresUrl) -> None:
    neighbour = new_postgres_url()
    schema = str(make_url(neighbour).query["options"]).partition("=")[2]
    missing = f"{schema}_Missing"
    url = _schema_url(neighbour, f'"{missing}",{schema}')
    try:
        with pytest.raises(NotFoundError):
            open_database(url, create=False)
        open_database(url).close()
        assert _tables_of(neighbour, missing) >= set(tables.metadata.tables)
        assert _tables_of(neighbour, schema) == set()
    finally:
        engine = create_engine(neighbour)
        with engine.begin() as connection:
            connection.exec_driver_sql(f'DROP SCHEMA IF EXISTS "{missing}" CASCADE')
        engine.dispose()


def test_history_in_the_second_schema_of_the_path_is_not_taken_for_ours(new_postgres_url: NewPostgresUrl) -> None:
    first, second = new_postgres_url(), new_postgres_url()
    open_database(second).close()
    names = [str(make_url(url).query["options"]).partition("=")[2] for url in (first, second)]
    both = _schema_url(first, ",".join(names))
    with pytest.raises(NotFoundError):
        open_database(both, create=False)
    open_database(both).close()
    assert _tables_of(first, names[0]) >= set(tables.metadata.tables)


def test_migrations_of_two_schemas_do_not_wait_for_each_other(new_postgres_url: NewPostgresUrl) -> None:
    with open_database(new_postgres_url()) as busy, busy.write() as connection:
        busy.dialect.lock_schema(connection)
        open_database(new_postgres_url()).close()
