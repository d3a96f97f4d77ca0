"""The open run database: its connections and transactions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, Self

from sqlalchemy import URL, Connection, Engine, create_engine, event

from otel_runs.errors import MissingDriverError, NotFoundError
from otel_runs.store import files, forks, migrations, schema
from otel_runs.store.dialects import Dialect, dialect_named
from otel_runs.store.failures import translated_errors
from otel_runs.store.forks import OPENING_PATIENCE_SECONDS, fork_gate
from otel_runs.store.location import database_url, shown, sqlite_path
from otel_runs.store.schema import SchemaState

__all__ = ["Database", "Synchronous", "database_url", "open_database", "schema_state", "upgrade"]

Synchronous = Literal["NORMAL", "FULL"]
"""When SQLite waits for the disk: FULL at each commit; NORMAL at checkpoints, so that a power failure may take the last
transactions (a crash of the process does not)."""

_BUSY_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 10
_WRITES: Final = "otel_runs_writes"


def open_database(
    url: str | PathLike[str] | URL | None = None, *, create: bool = True, synchronous: Synchronous = "NORMAL"
) -> Database:
    """Open a run database.

    Args:
        url: as `database_url` takes it.
        create: make folder, file or schema and tables where they are missing, and migrate them where they are old. Any
            number of processes may do so at once. With False, nothing is created or changed.
        synchronous: for SQLite only; a PostgreSQL server has its own setting.

    Raises:
        SettingsError: the URL cannot be used, or (MissingDriverError) its driver is not installed.
        NotFoundError: there is no run history yet, and it was not to be created.
        SchemaError: the database is another program's, of a newer version, or, without `create`, of an older one.
        StoreAccessError: permission is missing.
        StoreUnavailableError: the database is down or locked.
    """
    database = Database(database_url(url), create=create, synchronous=synchronous)
    try:
        database.open()
    except BaseException:
        database.close()
        raise
    return database


def schema_state(url: str | PathLike[str] | URL | None = None) -> SchemaState:
    """Say which schema a database has; nothing is created or changed.

    Raises:
        NotFoundError: there is no run history yet.
        SchemaError: as `open_database` without ``create``, except that an older version is an answer.
    """
    with Database(database_url(url), create=False, synchronous="NORMAL") as database:
        return database.schema_state()


def upgrade(url: str | PathLike[str] | URL | None = None) -> SchemaState:
    """Create or migrate a database, and say how it stood before.

    Raises:
        OtelRunsError: as `open_database`.
    """
    try:
        before = schema_state(url)
    except NotFoundError:
        before = SchemaState(None, migrations.HEAD)
    open_database(url).close()
    return before


class Database:
    """A run database with its pool of connections; safe for several threads, and for processes that fork.

    Made by `open_database`. An SQLite file that is deleted or replaced while this is open is noticed by the next
    transaction, which opens the path again (and creates it, if this was opened with ``create``).
    """

    def __init__(self, url: URL, *, create: bool, synchronous: Synchronous) -> None:
        self.url: Final = url
        self.dialect: Final[Dialect] = dialect_named(url.get_backend_name())
        self.engine: Final[Engine] = _engine(url, synchronous)
        self._path: Final = sqlite_path(url)
        self._create: Final = create
        self._file: files.FileId | None = None
        self._opening: Final = threading.RLock()
        fork_gate.close_before_fork(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, type_: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a write transaction; the end of the block commits, an exception rolls back.

        On SQLite no other writer is inside at the same time: the lock is taken at the beginning.

        Raises:
            StoreError: the driver's errors, also those that the block raises, as ours.
        """
        with self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction for reading; on SQLite all its queries see the database at one moment.

        Raises:
            NotFoundError: the file was deleted, and the database was opened without ``create``.
            StoreError: as `write`.
        """
        with self._transaction(writes=False) as connection:
            yield connection

    def schema_state(self) -> SchemaState:
        """Which revision the database has.

        Raises:
            NotFoundError: it has none of our tables yet.
            SchemaError: it is another program's, or of a newer version.
        """
        with translated_errors(self.url), fork_gate.passing():
            self._require_file()
            with self._connection(writes=False) as connection:
                state = schema.state_of(connection, self.dialect)
        if state.current is None:
            raise self._no_history()
        return state

    def missing_parts(self) -> tuple[str, ...]:
        """Tables, columns and views that the database should have and has not; empty if all is well."""
        with self.read() as connection:
            return schema.missing_parts(connection, self.dialect)

    def open(self) -> None:
        """Make the database ready for work; see `open_database`."""
        with translated_errors(self.url), fork_gate.passing(OPENING_PATIENCE_SECONDS), self._opening:
            if self._create:
                self._make()
            else:
                schema.require_head(self.schema_state())
            self._file = self._file_id()

    def close(self) -> None:
        """Close all connections. A later transaction opens new ones."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        with translated_errors(self.url), fork_gate.passing():
            if self._file_id() != self._file:
                self._open_again()
            with self._connection(writes=writes) as connection:
                yield connection

    @contextmanager
    def _connection(self, *, writes: bool) -> Iterator[Connection]:
        pool = self.engine.pool
        try:
            with self.engine.connect() as connection:
                connection.execution_options(**{_WRITES: writes})
                with connection.begin():
                    yield connection
        finally:
            if self.engine.pool is not pool:
                # Closed meanwhile, for a fork: the connection went back to a pool that nobody else knows.
                pool.dispose()

    def _file_id(self) -> files.FileId | None:
        return None if self._path is None else files.file_id(self._path)

    def _open_again(self) -> None:
        """Another file, or none, is where the database was."""
        with self._opening:
            if self._file_id() != self._file:
                # First: SQLite must let go of the old file before it opens a new one beside the same log.
                self.engine.dispose()
                self.open()

    def _make(self) -> None:
        if self._path is not None and files.holds_nothing(self._path):
            with files.creating(self._path, timeout=_BUSY_SECONDS):
                self._upgrade()
        else:
            self._upgrade()

    def _upgrade(self) -> None:
        with self._connection(writes=False) as connection:
            if not schema.state_of(connection, self.dialect).pending:
                return
        with self.engine.connect() as connection, self.dialect.free_to_migrate(connection):
            connection.execution_options(**{_WRITES: True})
            with connection.begin():
                schema.upgrade(connection, self.dialect)

    def _require_file(self) -> None:
        # SQLite creates a file that it is asked to open.
        if self._path is not None and not self._create and files.holds_nothing(self._path):
            raise self._no_history()

    def _no_history(self) -> NotFoundError:
        return NotFoundError(f"there is no run history yet in {shown(self.url)}; record a run first")


def _engine(url: URL, synchronous: Synchronous) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(_with_defaults(url, timeout=str(_BUSY_SECONDS)))
        _set_up_sqlite(engine, synchronous)
        return engine
    try:
        engine = create_engine(
            _with_defaults(url, application_name="otel_runs", connect_timeout=str(_CONNECT_SECONDS)),
            pool_pre_ping=True,
            connect_args={
                # Not prepared: the server keeps the plan of a prepared statement, made while the tables were nearly
                # empty, and goes on scanning them when they are full (20,000 models: 16 s instead of 6). Nor do
                # prepared statements pass a connection pooler such as PgBouncer.
                "prepare_threshold": None,
                # The database's own would be the default: of SQL_ASCII the driver makes bytes, not texts, and of a
                # span that LATIN1 cannot hold an error of its own. So the server converts, or refuses the row.
                "client_encoding": "utf8",
            },
        )
    except ImportError as exc:
        msg = f"run database {shown(url)} needs psycopg, which is not installed: pip install 'otel-runs[postgres]'"
        raise MissingDriverError(msg) from exc
    _set_up_postgresql(engine)
    return engine


def _with_defaults(url: URL, **query: str) -> URL:
    return url.set(query={**query, **url.query})


def _set_up_postgresql(engine: Engine) -> None:
    """Let no fork wait for a silent server as for an import, and take times as the driver can read them."""

    @event.listens_for(engine, "do_connect")
    def do_connect(dialect: Any, _record: object, args: list[Any], kwargs: dict[str, Any]) -> Any:
        with fork_gate.passing(forks.PATIENCE_SECONDS):
            return dialect.connect(*args, **kwargs)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        # The server has told it, so that looking costs nothing. Not by the URL's options: older PgBouncers refuse any,
        # while all know this setting and carry it from one of the server's connections to the next.
        if not (connection.info.parameter_status("DateStyle") or "").startswith("ISO"):
            connection.execute("SET datestyle TO ISO")
            connection.commit()


def _set_up_sqlite(engine: Engine, synchronous: Synchronous) -> None:
    """Take BEGIN over from the driver, which begins a transaction only before some statements.

    Source: SQLAlchemy, SQLite dialect, "Using SQLAlchemy to emit BEGIN in lieu of SQLite's transaction control".
    """

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes then cannot wait for its turn: it fails with SQLITE_BUSY at once.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
