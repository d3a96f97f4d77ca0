from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from otel_runs.errors import NotFoundError, SettingsError, StoreError, StoreUnavailableError
from otel_runs.store import tables
from otel_runs.store.engine import Database, open_database
from tests.conftest import NewPostgresUrl
from tests.store.samples import NOON, insert_run

runs = tables.runs


def _count(database: Database) -> int | None:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(runs))


def test_write_commits_at_the_end_of_the_block(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
    assert _count(database) == 1


def test_exception_in_a_write_block_rolls_back_and_passes(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as connection:
        insert_run(connection, "a")
        raise KeyError
    assert _count(database) == 0


def test_ddl_is_rolled_back_too(database: Database) -> None:
    with pytest.raises(KeyError), database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE extra (id INTEGER)")
        raise KeyError
    with database.read() as connection:
        assert "extra" not in database.dialect.relations(connection)


def test_time_comes_back_as_the_same_microsecond_in_utc(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a", started_at=NOON)
    with database.read() as connection:
        started_at = connection.scalar(select(runs.c.started_at))
    assert started_at == NOON
    assert started_at is not None
    assert started_at.utcoffset() == timedelta(0)


def test_sqlite_keeps_times_as_text_that_compares_with_its_own_dates(tmp_path: Path) -> None:
    with open_database(tmp_path / "runs.db") as database, database.write() as connection:
        insert_run(connection, "a", started_at=NOON)
        assert connection.exec_driver_sql("SELECT started_at FROM runs").scalar() == "2026-03-01 12:00:00.123456"


def test_writers_in_many_threads_lose_no_row(database: Database) -> None:
    def write(thread: int) -> None:
        for number in range(20):
            with database.write() as connection:
                insert_run(connection, f"{thread}-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert _count(database) == 160


def test_sqlite_writer_that_reads_first_waits_for_its_turn(tmp_path: Path) -> None:
    """With a deferred BEGIN, the second of two that read and then write fails at once instead."""
    with open_database(tmp_path / "runs.db") as database:

        def add_one(_: int) -> None:
            with database.write() as connection:
                count = connection.scalar(select(func.count()).select_from(runs))
                insert_run(connection, str(count))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add_one, range(40)))
        assert _count(database) == 40


def test_sqlite_reader_does_not_wait_for_the_writer_and_sees_one_moment(tmp_path: Path) -> None:
    with open_database(tmp_path / "runs.db?timeout=0.1") as database, database.read() as reader:
        counting = select(func.count()).select_from(runs)
        assert reader.scalar(counting) == 0
        with database.write() as connection:
            insert_run(connection, "a")
        assert reader.scalar(counting) == 0


def test_locked_sqlite_file_is_unavailable_and_worth_another_try(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with (
        open_database(f"sqlite:///{path}?timeout=0.1") as database,
        closing(sqlite3.connect(path, isolation_level=None)) as shell,
    ):
        shell.execute("BEGIN IMMEDIATE")
        locked = pytest.raises(StoreUnavailableError, match=r"runs\.db is locked by another process")
        with locked as caught, database.write():
            pytest.fail("entered a write block without the lock")
        assert database.dialect.transient(caught.value)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


def _pragma(database: Database, name: str) -> object:
    with database.read() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_new_sqlite_file_is_in_wal_mode_with_foreign_keys_and_a_busy_timeout(tmp_path: Path) -> None:
    with open_database(tmp_path / "runs.db") as database:
        assert _pragma(database, "journal_mode") == "wal"
        assert _pragma(database, "foreign_keys") == 1
        assert _pragma(database, "busy_timeout") == 10_000
        assert _pragma(database, "page_size") == 8192


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_synchronous_is_as_asked_on_every_connection(tmp_path: Path, synchronous: str, number: int) -> None:
    opened = open_database(tmp_path / "runs.db", synchronous=synchronous)  # type: ignore[arg-type]  # one of the two words
    with opened as database, database.read(), database.read():
        assert _pragma(database, "synchronous") == number


def test_busy_timeout_is_a_setting_of_the_url(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path / 'runs.db'}?timeout=3") as database:
        assert _pragma(database, "busy_timeout") == 3000


def test_folder_of_ours_ignores_itself_in_git_and_others_are_left_alone(tmp_path: Path) -> None:
    open_database(tmp_path / ".otel_runs" / "runs.db").close()
    open_database(tmp_path / "data" / "deep" / "runs.db").close()
    (tmp_path / "theirs" / ".otel_runs").mkdir(parents=True)
    open_database(tmp_path / "theirs" / ".otel_runs" / "runs.db").close()
    assert (tmp_path / ".otel_runs" / ".gitignore").read_text() == "*\n"
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".gitignore")] == [".otel_runs/.gitignore"]


def test_empty_file_becomes_a_database(tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()
    with pytest.raises(NotFoundError):
        open_database(tmp_path / "runs.db", create=False)
    with open_database(tmp_path / "runs.db") as database:
        assert _pragma(database, "journal_mode") == "wal"


def test_moved_working_directory_does_not_move_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with open_database("runs.db") as database:
        monkeypatch.chdir(tmp_path / "elsewhere")
        database.close()
        assert _count(database) == 0
    assert not (tmp_path / "elsewhere" / "runs.db").exists()


# A database that is deleted while it is open.


def _delete(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink()


@pytest.mark.parametrize("deleted", [("", "-wal", "-shm"), ("",)])
def test_row_written_after_the_file_was_deleted_is_in_the_new_file(tmp_path: Path, deleted: tuple[str, ...]) -> None:
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        with database.write() as connection:
            insert_run(connection, "before")
        _delete(path, *deleted)
        with database.write() as connection:
            insert_run(connection, "after")
        with closing(sqlite3.connect(path)) as shell:
            assert shell.execute("SELECT id FROM runs").fetchall() == [("after",)]
            assert shell.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_deleted_folder_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / ".otel_runs"
    with open_database(folder / "runs.db") as database:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        with database.write() as connection:
            insert_run(connection, "after")
    assert (folder / ".gitignore").exists()


def test_file_deleted_under_a_running_transaction_harms_only_that_transaction(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        with database.write() as connection:
            insert_run(connection, "a")
            _delete(path, "")
            with database.write() as second:
                insert_run(second, "b")
            insert_run(connection, "c")
        for number in range(50):
            with database.write() as connection:
                insert_run(connection, str(number))
        assert _count(database) == 51
        assert _pragma(database, "integrity_check") == "ok"


def test_deleted_file_is_not_made_again_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    with open_database(path, create=False) as database:
        path.unlink()
        with pytest.raises(NotFoundError, match="no run history yet"), database.read():
            pytest.fail("read a database that is not there")
    assert not path.exists()


def test_restored_backup_is_read_at_once(tmp_path: Path) -> None:
    path, backup = tmp_path / "runs.db", tmp_path / "backup.db"
    with open_database(backup) as database, database.write() as connection:
        insert_run(connection, "saved")
    with open_database(path) as database:
        assert _count(database) == 0
        _delete(path, "-wal", "-shm")
        backup.rename(path)
        assert _count(database) == 1


def test_write_ahead_log_left_by_a_deleted_file_is_not_replayed_into_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        with database.write() as connection:
            insert_run(connection, "old")
        log = path.with_name("runs.db-wal").read_bytes()
    _delete(path, "")
    path.with_name("runs.db-wal").write_bytes(log)
    with open_database(path) as database:
        assert _count(database) == 0


# Processes that fork.


def _fork_and_wait(child: object) -> None:
    """Run ``child`` in a forked process; it must end with 0."""
    assert callable(child)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_forked_child_and_its_parent_both_write(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "before")

    def child() -> None:
        with database.write() as connection:
            insert_run(connection, "child")

    _fork_and_wait(child)
    with database.write() as connection:
        insert_run(connection, "parent")
    assert _count(database) == 3


def test_no_connection_is_open_across_a_fork(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        assert _count(database) == 0

        def child() -> None:
            open_files = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.exists()]
            assert not [file for file in open_files if file.is_relative_to(tmp_path)]

        _fork_and_wait(child)


def test_child_keeps_its_rows_when_the_parent_closes_first(tmp_path: Path) -> None:
    """With a connection that is open across the fork, the parent would remove the log that the child writes."""
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        assert _count(database) == 0
        closed, close = os.pipe()
        opened, open_ = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with database.read():  # keeps a connection in the pool
                    pass
                os.write(open_, b".")
                os.read(closed, 1)
                with database.write() as connection:
                    insert_run(connection, "child")
                code = 0
            finally:
                os._exit(code)
        os.read(opened, 1)
        assert _count(database) == 0
        database.close()
        os.write(close, b".")
        assert os.waitpid(pid, 0)[1] == 0
        for descriptor in (closed, close, opened, open_):
            os.close(descriptor)
        assert _count(database) == 1


def test_fork_waits_for_a_running_transaction_of_another_thread(tmp_path: Path) -> None:
    with open_database(tmp_path / "runs.db") as database:
        inside, go_on = threading.Event(), threading.Event()

        def write() -> None:
            with database.write() as connection:
                insert_run(connection, "thread")
                inside.set()
                go_on.wait(10)

        thread = threading.Thread(target=write)
        thread.start()
        assert inside.wait(10)
        threading.Timer(0.2, go_on.set).start()

        def child() -> None:
            assert _count(database) == 1
            with database.write() as connection:
                insert_run(connection, "child")

        _fork_and_wait(child)
        thread.join()
        assert _count(database) == 2


def test_fork_inside_a_transaction_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_runs.store.forks.PATIENCE_SECONDS", 0.1)
    with open_database(tmp_path / "runs.db") as database, database.write() as connection:
        insert_run(connection, "a")
        _fork_and_wait(lambda: None)


def test_fork_does_not_wait_for_a_silent_server_as_for_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_runs.store.forks.PATIENCE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/history?connect_timeout=4"
        errors: list[StoreError] = []

        def open_it() -> None:
            try:
                open_database(url)
            except StoreError as exc:
                errors.append(exc)

        thread = threading.Thread(target=open_it)
        thread.start()
        with silent.accept()[0]:
            _fork_and_wait(lambda: None)
            assert not errors
            thread.join()
    assert [type(error) for error in errors] == [StoreUnavailableError]


# PostgreSQL.


def test_postgresql_connection_names_its_application_unless_the_url_does(new_postgres_url: NewPostgresUrl) -> None:
    url = new_postgres_url()
    for given, name in ((url, "otel_runs"), (f"{url}&application_name=nightly", "nightly")):
        with open_database(given) as database, database.read() as connection:
            assert connection.exec_driver_sql("SHOW application_name").scalar() == name


def test_postgresql_connection_that_the_server_ended_is_replaced(new_postgres_url: NewPostgresUrl) -> None:
    with open_database(new_postgres_url()) as database, open_database(new_postgres_url()) as other:
        with database.read() as connection:
            backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with other.read() as connection:
            connection.exec_driver_sql("SELECT pg_terminate_backend(%s)", (backend,))
        assert _count(database) == 0


def test_missing_driver_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"pip install 'otel-runs\[postgres\]'"):
        open_database("postgresql://ada@db.example/history")


def test_sqlite_needs_no_postgresql_driver(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None; from otel_runs.store.engine import open_database; "
        "open_database(sys.argv[1]).close()"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "runs.db")], check=True, timeout=30)
