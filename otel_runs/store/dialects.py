"""What databases do differently: their SQL, by capability. What their drivers' errors mean is in failures.py.

Code asks a `Dialect` for a capability and never for a name.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar, Final, Literal

from sqlalchemy import Connection, text

from otel_runs.errors import SchemaError, StoreAccessError
from otel_runs.store import failures
from otel_runs.store.location import shown
from otel_runs.store.triggers import SQLITE_TRIGGERS

_LOCK_WAIT_SECONDS: Final = 60
_SEARCH_PATH_ENTRY: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"\s]+))\s*(?:,|$)')


class Dialect(ABC):
    """The capabilities of one kind of database."""

    name: ClassVar[Literal["sqlite", "postgresql"]]
    patience: float = math.inf
    """Seconds after which a transaction is not run again, though the error is transient."""
    several_writers: bool = True
    """Whether transactions write side by side."""

    @abstractmethod
    def transient(self, error: BaseException) -> bool:
        """Whether the whole transaction may succeed when it is run again.

        Args:
            error: one of our errors, SQLAlchemy's or the driver's own.
        """

    @abstractmethod
    def wanted_schema(self, connection: Connection) -> str | None:
        """The schema in which the connection's tables belong, whether it exists or not; None where there are none."""

    @abstractmethod
    def schema_exists(self, connection: Connection) -> bool:
        """Whether the wanted schema exists."""

    @abstractmethod
    def create_schema(self, connection: Connection) -> None:
        """Create the wanted schema unless it exists."""

    @abstractmethod
    def relations(self, connection: Connection) -> frozenset[str]:
        """Names of the tables and views in the wanted schema, which exists."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Wait until no other process creates or migrates the tables; the end of the transaction lets them go on."""

    @abstractmethod
    def limit_waiting(self, connection: Connection, seconds: int) -> None:
        """Let the transaction wait for no lock longer than that: who holds it may have been stopped, and hold it on."""

    @abstractmethod
    def drop_derived(self, connection: Connection, views: Iterable[str]) -> None:
        """Drop the views of these names, and our triggers, where they would forbid to alter the tables below them."""

    @abstractmethod
    def create_derived(self, connection: Connection, views: Mapping[str, str]) -> None:
        """Create, or replace, the views (name: query), and triggers for what foreign keys do not do here."""

    @abstractmethod
    def free_to_migrate(self, connection: Connection) -> AbstractContextManager[None]:
        """Around a migration's transaction: what must be off while tables are rebuilt."""


class Sqlite(Dialect):
    """SQLite 3.38 and newer: one writer at a time, a file is a database."""

    name = "sqlite"
    several_writers = False
    patience = 5.0  # less than the busy timeout: who has waited for the lock that long would wait for it six times

    def transient(self, error: BaseException) -> bool:
        """Another connection held the lock for longer than the busy timeout."""
        return failures.sqlite_code(failures.driver_error(error)) in failures.SQLITE_LOCKED

    def wanted_schema(self, connection: Connection) -> str | None:  # noqa: ARG002  as Dialect
        """The file is all there is."""
        return None

    def schema_exists(self, connection: Connection) -> bool:  # noqa: ARG002  as Dialect
        """An open file exists."""
        return True

    def create_schema(self, connection: Connection) -> None:
        """Nothing to create."""

    def relations(self, connection: Connection) -> frozenset[str]:
        """Read from the file's catalogue."""
        query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        return frozenset(connection.exec_driver_sql(query).scalars())

    def lock_schema(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE has locked the file already."""

    def limit_waiting(self, connection: Connection, seconds: int) -> None:
        """There is nothing else to wait for."""

    def drop_derived(self, connection: Connection, views: Iterable[str]) -> None:
        """ALTER TABLE checks every view and trigger of the file, and fails where one names what is not there."""
        for name in views:
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        for name in SQLITE_TRIGGERS:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")

    def create_derived(self, connection: Connection, views: Mapping[str, str]) -> None:
        """The triggers are in triggers.py."""
        for name, query in views.items():
            connection.exec_driver_sql(f"CREATE VIEW {name} AS {query}")
        for name, body in SQLITE_TRIGGERS.items():
            connection.exec_driver_sql(f"CREATE TRIGGER {name} {body}")

    @contextmanager
    def free_to_migrate(self, connection: Connection) -> Iterator[None]:
        """Foreign keys off: SQLite rebuilds a table by dropping it, and the drop would cascade to its children.

        The switch does nothing inside a transaction, so it goes to the driver before one begins.
        Source: https://www.sqlite.org/lang_altertable.html#otheralter
        """
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101 - a connection in use has one
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            driver.execute("PRAGMA foreign_keys = ON")


class Postgresql(Dialect):
    """PostgreSQL 15 and newer: the schema is the first of the connection's ``search_path``."""

    name = "postgresql"

    def transient(self, error: BaseException) -> bool:
        """Deadlock, serialization, a race for a unique key, or a lost connection."""
        return failures.postgresql_transient(failures.driver_error(error))

    def wanted_schema(self, connection: Connection) -> str | None:
        """The first entry of ``search_path``, even if it does not exist.

        ``current_schema()`` would skip a schema that does not exist and name the next one: the tables of a tenant whose
        schema is missing would end up in ``public``. A path that begins with ``$user``, quoted or not, is the server's
        default and means the first that exists.
        """
        path, current = connection.exec_driver_sql("SELECT current_setting('search_path'), current_schema()").one()
        entry = _SEARCH_PATH_ENTRY.match(path)
        name = None if entry is None else _entry_name(entry)
        if name in {None, "$user"}:
            if current is None:
                msg = f"search_path {path!r} names no schema that exists; name one: ?options=-csearch_path%3Dteam_a"
                raise SchemaError(msg)
            return str(current)
        return name

    def schema_exists(self, connection: Connection) -> bool:
        """Ask the catalogue."""
        query = text("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :schema")
        return connection.execute(query, {"schema": self.wanted_schema(connection)}).first() is not None

    def create_schema(self, connection: Connection) -> None:
        """Only where it is missing: CREATE SCHEMA IF NOT EXISTS asks for the right to create before it looks."""
        if not self.schema_exists(connection):
            schema = connection.dialect.identifier_preparer.quote(self.wanted_schema(connection) or "")
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")

    def relations(self, connection: Connection) -> frozenset[str]:
        """Tables and views of the wanted schema only, not of those that follow it in the path.

        Raises:
            StoreAccessError: the schema may not be used; then PostgreSQL says of its tables that they do not exist.
        """
        allowed = text("SELECT pg_catalog.has_schema_privilege(:schema, 'USAGE')")
        if not connection.execute(allowed, {"schema": self.wanted_schema(connection)}).scalar():
            where = shown(connection.engine.url)
            msg = f"run database {where} refuses this user; GRANT USAGE ON SCHEMA, and rights on its tables"
            raise StoreAccessError(msg)
        query = text(
            "SELECT relname FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = :schema)"
        )
        return frozenset(connection.execute(query, {"schema": self.wanted_schema(connection)}).scalars())

    def lock_schema(self, connection: Connection) -> None:
        """An advisory lock whose key is the schema's name: other schemas of the database do not wait."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_SECONDS}s'")
        connection.execute(
            text("SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(:key, 0))"),
            {"key": f"otel_runs {self.wanted_schema(connection)}"},
        )

    def limit_waiting(self, connection: Connection, seconds: int) -> None:
        """Ends with the transaction."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{seconds}s'")

    def drop_derived(self, connection: Connection, views: Iterable[str]) -> None:
        """Nothing: who may read a view is kept with it. A revision that alters what a view reads drops that view."""

    def create_derived(self, connection: Connection, views: Mapping[str, str]) -> None:
        """OR REPLACE can add columns at the end of a view. No triggers: the foreign keys cascade."""
        for name, query in views.items():
            connection.exec_driver_sql(f"CREATE OR REPLACE VIEW {name} AS {query}")

    def free_to_migrate(self, connection: Connection) -> AbstractContextManager[None]:  # noqa: ARG002  as Dialect
        """Nothing: tables are altered in place."""
        return nullcontext()


def _entry_name(entry: re.Match[str]) -> str:
    """The name of a schema as PostgreSQL reads it: in lower case unless it is quoted."""
    quoted, plain = entry.groups()
    return plain.lower() if quoted is None else quoted.replace('""', '"')


_DIALECTS: Final[dict[str, Dialect]] = {dialect.name: dialect for dialect in (Sqlite(), Postgresql())}


def dialect_named(name: str) -> Dialect:
    """The capabilities of the database that SQLAlchemy calls ``name``."""
    return _DIALECTS[name]
