"""Spans a second through ``RunsSpanExporter.export``, and bytes a row on disk.

Speed is compared with the raw driver's ``executemany`` of the same rows.
The driver gets rows that are ready, in batches of the same size, into the same tables with the same indexes. Spans and
rows are made batch by batch; only export and insert are on the clock.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import psycopg
from opentelemetry.sdk.trace.export import SpanExportResult
from psycopg import sql

from bench.rounds import Line, interleaved
from bench.traces import BATCH, pipeline_batches
from otel_runs import RunsSpanExporter
from otel_runs.store.engine import Synchronous, open_database
from tests.servers.postgres import PostgresServer

LEAST_RATIO = 0.5
MOST_BYTES = 600
TABLES = ("runs", "models", "model_runs")
"""In the order in which foreign keys let them be filled."""

Row = tuple[Any, ...]


class Workload(NamedTuple):
    """Some runs of one size."""

    title: str
    traces: int
    steps: int

    @property
    def spans(self) -> int:
        """How many there are."""
        return self.traces * (self.steps + 1)


SMALL = Workload("traces of 10 spans", 3_000, 9)
LONG = Workload("one trace of 100,000 spans", 1, 99_999)


class Target(ABC):
    """A kind of database, with as many fresh databases as are asked for."""

    name: str

    @abstractmethod
    def new_url(self) -> str:
        """A database in which nothing is."""

    @abstractmethod
    def batches(self, url: str, table: str, size: int = BATCH) -> Iterator[list[Row]]:
        """A table's rows as the driver takes them back, so many at a time."""

    @abstractmethod
    def insert(self, url: str, batches: Iterable[tuple[str, list[Row]]]) -> float:
        """Insert with the driver's executemany, one transaction a batch. Seconds."""

    @abstractmethod
    def bytes_used(self, url: str) -> int:
        """What the tables and their indexes take on disk."""


class Sqlite(Target):
    """Files in a folder.

    Args:
        folder: that holds them.
        synchronous: how the driver commits.
    """

    name = "SQLite"

    def __init__(self, folder: Path, synchronous: Synchronous = "NORMAL") -> None:
        self._folder = folder
        self._synchronous = synchronous
        self._numbers = count()

    def new_url(self) -> str:
        return str(self._folder / f"export-{next(self._numbers)}.db")

    def batches(self, url: str, table: str, size: int = BATCH) -> Iterator[list[Row]]:
        with closing(sqlite3.connect(url)) as connection:
            yield from _fetched(connection.execute(f"SELECT * FROM {table}"), size)  # noqa: S608 - one of TABLES

    def insert(self, url: str, batches: Iterable[tuple[str, list[Row]]]) -> float:
        connection = sqlite3.connect(url, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        seconds = 0.0
        for table, rows in batches:
            marks = ", ".join("?" * len(rows[0]))
            start = perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 - one of TABLES
            connection.execute("COMMIT")
            seconds += perf_counter() - start
        connection.close()
        return seconds

    def bytes_used(self, url: str) -> int:
        with closing(sqlite3.connect(url)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return int(
                connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[
                    0
                ]
            )


class Postgres(Target):
    """Schemas of a server."""

    def __init__(self, server: PostgresServer, version: int) -> None:
        self.name = f"PostgreSQL {version}"
        self._url = server.url.replace("postgresql+psycopg://", "postgresql://")
        self._numbers = count()

    def new_url(self) -> str:
        schema = f"export_{next(self._numbers)}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        mark = "&" if "?" in self._url else "?"
        return f"{self._url}{mark}options=-csearch_path%3D{schema}"

    def batches(self, url: str, table: str, size: int = BATCH) -> Iterator[list[Row]]:
        with psycopg.connect(url) as connection:
            types = self._types(connection, table)
            # JSON as text, so that the driver need not turn it into objects and back.
            columns = [
                sql.SQL("{}::text" if kind == "jsonb" else "{}").format(sql.Identifier(name)) for name, kind in types
            ]
            query = sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), sql.Identifier(table))
            yield from _fetched(connection.execute(query), size)

    def insert(self, url: str, batches: Iterable[tuple[str, list[Row]]]) -> float:
        with psycopg.connect(url, autocommit=True) as connection:
            statements = {table: self._insert_into(connection, table) for table in TABLES}
            seconds = 0.0
            for table, rows in batches:
                start = perf_counter()
                with connection.transaction(), connection.cursor() as cursor:
                    cursor.executemany(statements[table], rows)
                seconds += perf_counter() - start
            return seconds

    def copy(self, url: str, batches: Iterable[tuple[str, list[Row]]]) -> float:
        """Insert with COPY, the fastest way in, one transaction a batch. Seconds."""
        with psycopg.connect(url, autocommit=True) as connection:
            seconds = 0.0
            for table, rows in batches:
                statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
                start = perf_counter()
                with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as copy:
                    for row in rows:
                        copy.write_row(row)
                seconds += perf_counter() - start
            return seconds

    def bytes_used(self, url: str) -> int:
        with psycopg.connect(url) as connection:
            query = "SELECT sum(pg_total_relation_size(to_regclass(name))) FROM unnest(%s::text[]) AS name"
            row = connection.execute(query, [[*TABLES, "span_links", "dependencies", "environments"]]).fetchone()
            return int(row[0]) if row else 0

    def _insert_into(self, connection: psycopg.Connection[Any], table: str) -> sql.Composed:
        marks = [sql.SQL("%s::jsonb" if kind == "jsonb" else "%s") for _, kind in self._types(connection, table)]
        return sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier(table), sql.SQL(", ").join(marks))

    @staticmethod
    def _types(connection: psycopg.Connection[Any], table: str) -> list[tuple[str, str]]:
        query = (
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = %s AND table_schema = current_schema() ORDER BY ordinal_position"
        )
        return connection.execute(query, [table]).fetchall()


def lines(target: Target, workload: Workload, *, rounds: int = 3) -> list[Line]:
    """Measure speed and size of one workload in one database."""
    model_url = target.new_url()
    _export(model_url, workload)
    written = sum(len(rows) for table in ("runs", "model_runs") for rows in target.batches(model_url, table))
    assert written == workload.spans, (written, workload, model_url)
    samples = interleaved(
        {"ours": lambda: _export(target.new_url(), workload), "driver": lambda: _insert(target, model_url)}, rounds
    )
    # Spans a second, so the driver's seconds are divided by ours.
    ratio = samples.ratio("driver", "ours")
    speed = Line(
        f"spans a second into {target.name}, {workload.title}",
        f"{workload.spans / samples.median('ours'):,.0f}",
        f"executemany: {workload.spans / samples.median('driver'):,.0f}",
        ratio,
        f"at least {LEAST_RATIO}",
        ratio >= LEAST_RATIO,
    )
    used = target.bytes_used(model_url) / workload.spans
    size = Line(
        f"bytes a row in {target.name}, {workload.title}",
        f"{used:.0f}",
        "-",
        None,
        f"under {MOST_BYTES}",
        used < MOST_BYTES,
    )
    return [speed, size]


def _export(url: str, workload: Workload) -> float:
    open_database(url).close()  # the tables are not what is measured
    exporter = RunsSpanExporter(url)
    seconds = 0.0
    for spans in pipeline_batches(workload.traces, workload.steps):
        start = perf_counter()
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        seconds += perf_counter() - start
    exporter.shutdown()
    return seconds


def _insert(target: Target, model_url: str) -> float:
    url = target.new_url()
    open_database(url).close()
    return target.insert(url, ((table, rows) for table in TABLES for rows in target.batches(model_url, table)))


def _fetched(cursor: sqlite3.Cursor | psycopg.Cursor[Row], size: int) -> Iterator[list[Row]]:
    while rows := cursor.fetchmany(size):
        yield rows
