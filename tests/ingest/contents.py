"""Everything that a run database holds, to compare one with another."""

from __future__ import annotations

from sqlalchemy import Connection, Table, delete, select

from otel_runs.store.engine import Database
from otel_runs.store.tables import metadata

Contents = dict[str, list[tuple[object, ...]]]


def contents_of(database: Database) -> Contents:
    """All rows of all tables, internal ones and internal columns too."""
    with database.read() as connection:
        return {table.name: _rows(connection, table) for table in metadata.sorted_tables}


def _rows(connection: Connection, table: Table) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]


def empty(database: Database) -> None:
    """Delete everything."""
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
