from __future__ import annotations

from sqlalchemy import select

from otel_runs.store import tables
from otel_runs.store.engine import Database


def test_relations_are_tables_and_views(database: Database) -> None:
    with database.read() as connection:
        names = database.dialect.relations(connection)
        assert connection.scalars(select(tables.runs.c.id)).all() == []
    assert names >= {"runs", "v_runs", "otel_runs_version"}
