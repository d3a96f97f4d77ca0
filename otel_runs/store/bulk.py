"""How each database takes many rows at a time.

Measured (bench/): SQLite takes new rows a little faster than by its driver's executemany if a statement holds many of
them; PostgreSQL takes COPY into a temporary table and one statement from there six times faster than executemany.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from typing import Any, ClassVar, Final

import orjson
from sqlalchemy import Connection, Table

from otel_runs.ids import is_padded, run_id_from_trace, trace_prefix
from otel_runs.store.migrations import HEAD

Row = tuple[Any, ...]
Packed = tuple[Any, ...]
"""A part of what ``Bulk.insert`` takes: rows in the form in which a database takes them fastest."""

_PREFIX: Final = "(substr(p.value, 1, 8) || '-' || substr(p.value, 9, 4) || '-' || substr(p.value, 13, 4))"
"""The beginning of the ids of a trace's rows.

Other traces may share it: some senders begin their ids with the second. So a range of ids is always asked for with the
trace's id beside it.
"""

_PADDED: Final = "substr(m.trace_id, 1, 16) = '0000000000000000'"
"""Of a row whose trace has an id of 64 bits, padded with zeros. The range of such a trace is that of all of them, so
they are found by an index of their own (tables.py), which is used only where this condition stands."""
_PADDED_ID: Final = "substr(m.id, 1, 18) = '00000000-0000-0000'"
"""Its id is computed from the trace; not that of a run with a key, which may name the same trace."""

_TABLES_OF_TRACES: Final = ("model_runs", "span_links")
"""What of a trace may stand without a row of its root run, which a writer would have locked."""

_ONE_BY_ONE: Final = "OFFSET 0"
"""At the end of a subquery: PostgreSQL then looks each trace up by itself. It would rather join by the id of the trace,
which has no index, and read the whole table for that (bench/growing.py: half the speed after a million rows)."""

_ROWS_A_STATEMENT: Final = 150
"""That SQLite inserts: 7.5 us a row of model_runs, by executemany 8.2; with 50, 8.3, with 300, 7.3. For each row of an
executemany the driver also lets other threads run, and waits for them: 100,000 spans took 2.9 s of a server's CPU and
take 2.7. SQLite takes 32,766 parameters, five times as many as the rows of the widest table have."""


class Bulk(ABC):
    """Statements of one database, and how rows get into them."""

    mark: ClassVar[str]
    """How a parameter is written."""
    time_mark: ClassVar[str]
    """How a parameter that holds the text of a time is written."""
    time_suffix: ClassVar[str]
    """What stands behind the digits of a time."""
    for_update: ClassVar[str]
    """What locks the rows of a SELECT."""
    skip_locked: ClassVar[str]
    """What leaves out, behind ``for_update``, the rows that another transaction has locked."""
    for_no_key_update: ClassVar[str]
    """What locks them against other writers, but not against new rows that refer to them."""

    @abstractmethod
    def among(self, column: str) -> str:
        """The condition that a column is one of ``ids``."""

    @abstractmethod
    def ids(self, ids: Sequence[str]) -> tuple[object, ...]:
        """The parameters of ``among``, ``by_trace`` and ``traces_with_rows``."""

    @abstractmethod
    def by_trace(self, columns: str, table: str, *, padded: bool) -> str:
        """A SELECT of the rows of one of ``ids``, trace ids, whose own ids are computed from it.

        Args:
            columns: of the rows, separated by commas.
            table: its name.
            padded: the trace ids are padded ones, or none of them is.
        """

    @abstractmethod
    def traces_with_rows(self, *, padded: bool) -> str:
        """A SELECT of those of ``ids``, trace ids, that have a model run or a link."""

    @abstractmethod
    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Insert rows, leave those alone whose key exists; how many were inserted."""

    @abstractmethod
    def packed(self, table: Table, rows: Iterable[Row]) -> Iterable[Packed]:
        """Rows as ``insert`` takes them; made while they are taken, so that they are not in memory all at once."""

    @abstractmethod
    def insert(self, connection: Connection, table: Table, packed: Iterable[Packed]) -> None:
        """Insert rows that are known to be new; a key that exists is an error of the database."""

    @abstractmethod
    def save(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, or overwrite those whose key exists. No key occurs twice in ``rows``."""

    @abstractmethod
    def replace_parents(self, connection: Connection, trace_id: str, rows: Mapping[str, str | None]) -> None:
        """In the model runs of one trace, replace one parent by another: old -> new."""

    @abstractmethod
    def move(self, connection: Connection, run_of: Mapping[str, str]) -> None:
        """Give model runs another run: id -> run id."""

    @staticmethod
    def run_many(connection: Connection, sql: str, rows: Sequence[Row]) -> None:
        """Execute a statement once for each row."""
        if rows:
            connection.exec_driver_sql(sql, list(rows))


class SqliteBulk(Bulk):
    """SQLite: one writer at a time, so nothing needs locking."""

    mark = "?"
    time_mark = "?"
    time_suffix = ""
    for_update = ""
    skip_locked = ""
    for_no_key_update = ""

    def among(self, column: str) -> str:
        """One parameter, whatever the number of ids: SQLite limits parameters, and would parse each list anew."""
        return f"{column} IN (SELECT value FROM json_each(?))"

    def ids(self, ids: Sequence[str]) -> tuple[object, ...]:
        """A JSON array."""
        return (orjson.dumps(list(ids)).decode(),)

    def by_trace(self, columns: str, table: str, *, padded: bool) -> str:
        """CROSS JOIN keeps SQLite from scanning the table: the traces come first, each is one range of the key."""
        where = self._of_trace(padded=padded)
        return f"SELECT {_named(columns)} FROM json_each(?) AS p CROSS JOIN {table} AS m WHERE {where}"

    def traces_with_rows(self, *, padded: bool) -> str:
        """One look-up for each in each table."""
        where = self._of_trace(padded=padded)
        found = [f"EXISTS (SELECT 1 FROM {table} AS m WHERE {where})" for table in _TABLES_OF_TRACES]
        return f"SELECT p.value FROM json_each(?) AS p WHERE {' OR '.join(found)}"

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """As ``insert``."""
        packed = self._packed(table, rows, _on_conflict(table, overwrite=False))
        return sum(connection.exec_driver_sql(sql, values).rowcount for sql, values in packed)

    def packed(self, table: Table, rows: Iterable[Row]) -> Iterable[Packed]:
        """Statements, each with the values of many rows; the rest is for the driver to insert one by one.

        Without a conflict clause: an upsert takes two thirds more (29 us a row of model_runs instead of 18), because
        SQLite then checks the foreign keys of the update as well.
        """
        return self._packed(table, rows)

    def insert(self, connection: Connection, table: Table, packed: Iterable[Packed]) -> None:  # noqa: ARG002  as Bulk
        """Execute the statements."""
        for sql, values in packed:
            connection.exec_driver_sql(sql, values)

    def _packed(self, table: Table, rows: Iterable[Row], on_conflict: str = "") -> Iterator[tuple[str, Any]]:
        left = iter(rows)
        while some := list(islice(left, _ROWS_A_STATEMENT)):
            if len(some) == _ROWS_A_STATEMENT:
                yield self._insert(table, on_conflict, _ROWS_A_STATEMENT), tuple(chain.from_iterable(some))
            else:
                yield self._insert(table, on_conflict), some

    def save(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """One prepared statement, run by the driver for each row."""
        self.run_many(connection, self._insert(table, _on_conflict(table, overwrite=True)), rows)

    def replace_parents(self, connection: Connection, trace_id: str, rows: Mapping[str, str | None]) -> None:
        """One pass over the trace's rows, whatever the number of replacements."""
        replacements = orjson.dumps(dict(rows)).decode()
        where, values = _one_trace(trace_id, self.mark)
        connection.exec_driver_sql(
            "UPDATE model_runs AS m SET parent_id = (SELECT value FROM json_each(?) WHERE key = m.parent_id) "
            f"WHERE {where} AND m.parent_id IN (SELECT key FROM json_each(?))",
            (replacements, *values, replacements),
        )

    def move(self, connection: Connection, run_of: Mapping[str, str]) -> None:
        """One look-up by key for each."""
        rows = [(run_id, id_) for id_, run_id in run_of.items()]
        self.run_many(connection, "UPDATE model_runs SET run_id = ? WHERE id = ?", rows)

    @staticmethod
    def _of_trace(*, padded: bool) -> str:
        place = f"{_PADDED} AND {_PADDED_ID}" if padded else f"m.id >= {_PREFIX} AND m.id < {_PREFIX} || 'g'"
        return f"{place} AND m.trace_id = p.value"

    @staticmethod
    @lru_cache  # the text of many rows is long, and the same text is known by the hash that it remembers
    def _insert(table: Table, on_conflict: str = "", rows: int = 1) -> str:
        columns = _columns(table)
        row = f"({', '.join('?' * len(columns))})"
        return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {', '.join([row] * rows)} {on_conflict}"


class PostgresBulk(Bulk):
    """PostgreSQL through psycopg 3."""

    mark = "%s"
    time_mark = "%s::timestamptz"
    time_suffix = "+00"
    for_update = " FOR UPDATE"
    skip_locked = " SKIP LOCKED"
    for_no_key_update = " FOR NO KEY UPDATE"

    def among(self, column: str) -> str:
        """One array parameter."""
        return f"{column} = ANY(%s)"

    def ids(self, ids: Sequence[str]) -> tuple[object, ...]:
        """A list, which the driver sends as an array."""
        return (list(ids),)

    def by_trace(self, columns: str, table: str, *, padded: bool) -> str:
        """Ids are of collation C, so that a trace is one range of the key."""
        rows = f"SELECT * FROM {table} AS m WHERE {self._of_trace(padded=padded)} {_ONE_BY_ONE}"
        return f"SELECT {_named(columns)} FROM unnest(%s::text[]) AS p(value) CROSS JOIN LATERAL ({rows}) AS m"

    def traces_with_rows(self, *, padded: bool) -> str:
        """One look-up for each in each table."""
        where = f"{self._of_trace(padded=padded)} {_ONE_BY_ONE}"
        found = [f"EXISTS (SELECT 1 FROM {table} AS m WHERE {where})" for table in _TABLES_OF_TRACES]
        return f"SELECT p.value FROM unnest(%s::text[]) AS p(value) WHERE {' OR '.join(found)}"

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Waits for a writer that inserts the same key; if it commits, its row stands."""
        if not rows:
            return 0
        names = ", ".join(_columns(table))
        source = self._copy(connection, table, rows)
        key = next(iter(table.primary_key.columns)).name
        sql = f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {source} ORDER BY {key} ON CONFLICT DO NOTHING"
        return connection.exec_driver_sql(sql).rowcount

    def packed(self, table: Table, rows: Iterable[Row]) -> Iterable[Packed]:  # noqa: ARG002  as Bulk
        """As they are."""
        return rows

    def insert(self, connection: Connection, table: Table, packed: Iterable[Packed]) -> None:
        """COPY, straight into the table."""
        self._copy_into(connection, table.name, table, packed)

    def save(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """COPY, then one upsert."""
        if not rows:
            return
        names = ", ".join(_columns(table))
        source = self._copy(connection, table, rows)
        key = ", ".join(column.name for column in table.primary_key.columns)
        connection.exec_driver_sql(
            f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {source} "
            f"ORDER BY {key} {_on_conflict(table, overwrite=True)}"
        )

    def replace_parents(self, connection: Connection, trace_id: str, rows: Mapping[str, str | None]) -> None:
        """One pass over the trace's rows, whatever the number of replacements."""
        where, values = _one_trace(trace_id, self.mark)
        connection.exec_driver_sql(
            "UPDATE model_runs AS m SET parent_id = p.new FROM unnest(%s::text[], %s::text[]) AS p(old, new) "
            f"WHERE {where} AND m.parent_id = p.old",
            (list(rows), list(rows.values()), *values),
        )

    def move(self, connection: Connection, run_of: Mapping[str, str]) -> None:
        """One statement for all."""
        connection.exec_driver_sql(
            "UPDATE model_runs AS m SET run_id = p.run_id FROM unnest(%s::text[], %s::text[]) AS p(id, run_id) "
            "WHERE m.id = p.id",
            (list(run_of), list(run_of.values())),
        )

    @staticmethod
    def _of_trace(*, padded: bool) -> str:
        if padded:
            return f"{_PADDED} AND {_PADDED_ID} AND m.trace_id = p.value"
        return f'm.id >= {_PREFIX} COLLATE "C" AND m.id < ({_PREFIX} || \'g\') COLLATE "C" AND m.trace_id = p.value'

    def _copy(self, connection: Connection, table: Table, rows: Sequence[Row]) -> str:
        """Copy rows into a temporary table of the connection; its name."""
        source = f"otel_runs_new_{table.name}_{HEAD}"
        # Asked for each time: behind a pooler such as PgBouncer, each transaction may have another connection of the
        # server's. To drop and make it each time takes as long, but fills the server's catalogues. Named by the
        # revision: the connection may have been that of a process with older tables. Emptied, because a transaction
        # may fill it twice; DELETE is cheaper than TRUNCATE, which syncs a new file. By the driver, which sends two
        # statements at once: one way to the server and back, as it was for the DELETE alone.
        _driver_of(connection).execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {source} (LIKE {table.name}) ON COMMIT DELETE ROWS; "
            f"DELETE FROM {source}"
        )
        self._copy_into(connection, source, table, rows)
        return source

    @staticmethod
    def _copy_into(connection: Connection, target: str, table: Table, rows: Iterable[Row]) -> None:
        with (
            _driver_of(connection).cursor() as cursor,
            cursor.copy(f"COPY {target} ({', '.join(_columns(table))}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row(row)


def _driver_of(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _one_trace(trace_id: str, mark: str) -> tuple[str, tuple[str, ...]]:
    """The condition that a row is of a trace, and its parameters."""
    if is_padded(trace_id):
        return f"{_PADDED} AND m.trace_id = {mark}", (trace_id,)
    prefix = trace_prefix(run_id_from_trace(trace_id))
    # "g" is the first letter above all hexadecimal digits.
    return f"m.id >= {mark} AND m.id < {mark} AND m.trace_id = {mark}", (prefix, f"{prefix}g", trace_id)


def _named(columns: str) -> str:
    return ", ".join(f"m.{column.strip()}" for column in columns.split(","))


def bulk_of(dialect: str) -> Bulk:
    """The statements of a database, by SQLAlchemy's name of its dialect."""
    return PostgresBulk() if dialect == "postgresql" else SqliteBulk()


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _on_conflict(table: Table, overwrite: bool) -> str:  # noqa: FBT001 (private, and named where it is called)
    key = [column.name for column in table.primary_key.columns]
    rest = [name for name in _columns(table) if name not in key]
    if not overwrite or not rest:
        # Without a target: with one, the other unique key of `models` would still race.
        return "ON CONFLICT DO NOTHING"
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in rest)
