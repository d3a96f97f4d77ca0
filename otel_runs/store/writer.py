"""What one write transaction reads and writes: whole records, many at a time.

Every statement is written once for the dialect and executed many times by the driver, with tuples: SQLAlchemy Core with
a dictionary a row halves what SQLite takes, the ORM is five times slower (bench/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table

from otel_runs.ids import is_padded
from otel_runs.mapping.losses import STEP_ERROR
from otel_runs.mapping.runs import RunState
from otel_runs.mapping.totals import Usage
from otel_runs.records import Model, ModelRun
from otel_runs.store.bulk import Packed, bulk_of
from otel_runs.store.rows import Rows, json_text, model_run_from_row, ns_from_value, run_from_row
from otel_runs.store.tables import dependencies, environments, model_runs, models, runs, span_links


def _names(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


RUN_COLUMNS: Final = ", ".join(_names(runs))
MODEL_RUN_COLUMNS: Final = ", ".join(_names(model_runs))


_LOST_STEP: Final = "(status = 'failed' AND stop_reason = 'lost' AND duration_ns IS NULL)"
"""Of a model run that ended with its run (mapping/losses.py, unlost_step)."""


def _by_padding(trace_ids: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    """The trace ids that are not padded, and those that are: their rows are found in different ways."""
    for padded in (False, True):
        found = [trace_id for trace_id in trace_ids if is_padded(trace_id) is padded]
        if found:
            yield found, padded


class Link(NamedTuple):
    """Where a node without a row of model_runs stands: a row of ``span_links``."""

    id: str
    parent_id: str | None
    run_id: str
    trace_id: str


class StoredModel(NamedTuple):
    """What decides whether a model's row changes."""

    kind: str
    created_at: int
    updated_at: int
    declared_by: str


class StoredEnvironment(NamedTuple):
    """What decides whether an environment's row changes."""

    created_at: int
    updated_at: int
    declared_by: str


class Writer:
    """Reads and writes records on one connection, inside its transaction.

    Args:
        connection: in a write transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bulk = bulk_of(connection.dialect.name)
        self._rows = Rows(self._bulk.time_suffix)

    # Runs.

    def lock_runs(self, ids: Iterable[str]) -> dict[str, RunState]:
        """Those of the runs that exist, locked until the transaction ends.

        In the order of their ids, so that two writers never wait for each other.
        """
        sql = f"SELECT {RUN_COLUMNS} FROM runs WHERE {self._bulk.among('id')} ORDER BY id{self._bulk.for_update}"
        return {row[0]: run_from_row(row) for row in self._read(sql, self._bulk.ids(sorted(ids)))}

    def stored_runs(self, ids: Iterable[str]) -> set[str]:
        """Those of the runs that exist; not locked."""
        sql = f"SELECT id FROM runs WHERE {self._bulk.among('id')}"
        return {row[0] for row in self._read(sql, self._bulk.ids(sorted(ids)))}

    def runs_held_by_others(self, ids: Iterable[str]) -> set[str]:
        """Those of the runs that another transaction has locked now; the others are locked for this one."""
        parameters = self._bulk.ids(sorted(ids))
        sql = f"SELECT id FROM runs WHERE {self._bulk.among('id')}"
        locking = f"{sql} ORDER BY id{self._bulk.for_update}{self._bulk.skip_locked}"
        free = {row[0] for row in self._read(locking, parameters)}
        return {row[0] for row in self._read(sql, parameters)} - free

    def runs_of_traces(self, trace_ids: Sequence[str]) -> list[RunState]:
        """All runs whose id is computed from one of the traces: root runs and nested runs."""
        return [run_from_row(row) for row in self._of_traces(RUN_COLUMNS, "runs", trace_ids)]

    def insert_runs(self, states: Sequence[RunState]) -> int:
        """Insert runs that do not exist yet.

        Returns:
            How many of them really did not: another writer may have been faster.
        """
        rows = [self._rows.run(state) for state in states]
        return self._bulk.insert_new(self._connection, runs, rows)

    def save_runs(self, states: Sequence[RunState]) -> None:
        """Write runs, new or known."""
        self._bulk.save(self._connection, runs, [self._rows.run(state) for state in states])

    def delete_runs(self, ids: Sequence[str]) -> None:
        """Delete runs that turned out to be none."""
        if ids:
            self._run(f"DELETE FROM runs WHERE {self._bulk.among('id')}", self._bulk.ids(ids))

    def runs_inside(self, run_ids: Iterable[str]) -> list[RunState]:
        """The runs nested directly in one of the runs."""
        sql = f"SELECT {RUN_COLUMNS} FROM runs WHERE {self._bulk.among('parent_run_id')}"
        return [run_from_row(row) for row in self._read(sql, self._bulk.ids(sorted(run_ids)))]

    # Model runs.

    def find_model_runs(self, ids: Sequence[str]) -> dict[str, ModelRun]:
        """Those of the model runs that exist."""
        sql = f"SELECT {MODEL_RUN_COLUMNS} FROM model_runs WHERE {self._bulk.among('id')}"
        return {row[0]: model_run_from_row(row) for row in self._read(sql, self._bulk.ids(ids))}

    def packed_model_runs(self, records: Iterable[ModelRun]) -> Iterable[Packed]:
        """Model runs that are not stored yet, in the order of their ids, as ``insert_model_runs`` takes them.

        So each page of a table and its key is read and written once a batch, wherever in a large trace the ids fall.
        """
        return self._bulk.packed(model_runs, map(self._rows.model_run, sorted(records, key=attrgetter("id"))))

    def insert_model_runs(self, packed: Iterable[Packed]) -> None:
        """Write model runs that are not stored yet."""
        self._bulk.insert(self._connection, model_runs, packed)

    def save_model_runs(self, records: Sequence[ModelRun]) -> None:
        """Overwrite model runs."""
        row = self._rows.model_run
        self._bulk.save(self._connection, model_runs, [row(record) for record in records])

    def places_of_trace(self, trace_id: str) -> list[tuple[str, str, str | None]]:
        """Id, run id and parent id of all model runs of a trace."""
        return self._of_traces("id, run_id, parent_id", "model_runs", [trace_id])

    def has_rows(self, run_id: str, *, besides: Sequence[str]) -> bool:
        """Whether any model run is in a run, besides some by their ids."""
        sql = f"SELECT 1 FROM model_runs WHERE run_id = {self._mark} AND NOT ({self._bulk.among('id')}) LIMIT 1"
        return bool(self._read(sql, (run_id, *self._bulk.ids(besides))))

    def traces_with_rows(self, trace_ids: Sequence[str]) -> list[str]:
        """Those of the traces that have a model run, or a link."""
        return [
            row[0]
            for ids, padded in _by_padding(trace_ids)
            for row in self._read(self._bulk.traces_with_rows(padded=padded), self._bulk.ids(ids))
        ]

    def usage_of_runs(self, run_ids: Sequence[str]) -> list[Usage]:
        """What totals need of all model runs of the runs; those that were lost with their run count as running."""
        columns = ", ".join(
            f"CASE WHEN {_LOST_STEP} THEN 'running' ELSE status END" if name == "status" else name
            for name in Usage._fields
            if name in model_runs.c
        )
        sql = f"SELECT {columns} FROM model_runs WHERE {self._bulk.among('run_id')}"
        return [Usage(*row) for row in self._read(sql, self._bulk.ids(run_ids))]

    def last_heard_of(self, run_ids: Sequence[str]) -> dict[str, int]:
        """When each model run of the runs was last heard of: at its end, if a span told it, or at its start."""
        sql = (
            f"SELECT id, started_at, CASE WHEN {_LOST_STEP} THEN NULL ELSE completed_at END FROM model_runs "
            f"WHERE {self._bulk.among('run_id')}"
        )
        return {
            row[0]: max(ns_from_value(row[1]) or 0, ns_from_value(row[2]) or 0)
            for row in self._read(sql, self._bulk.ids(run_ids))
        }

    def anchors_of_run(self, run_id: str) -> list[ModelRun]:
        """The model runs that are a keyed run's part in one process each."""
        sql = f"SELECT {MODEL_RUN_COLUMNS} FROM model_runs WHERE run_id = {self._mark} AND parent_id = {self._mark}"
        return [model_run_from_row(row) for row in self._read(sql, (run_id, run_id))]

    def traces_of_run(self, run_id: str) -> set[str]:
        """Ids of all traces that have a row in a keyed run."""
        sql = f"SELECT DISTINCT trace_id FROM model_runs WHERE run_id = {self._mark}"
        return {row[0] for row in self._read(sql, (run_id,))}

    def lose_steps(self, run_ids: Mapping[str, int]) -> None:
        """End the model runs that are open in runs with which they went: run id -> the run's end."""
        sql = (
            f"UPDATE model_runs SET status = 'failed', stop_reason = 'lost', error = {self._mark}, completed_at = "
            f"CASE WHEN started_at > {self._time} THEN started_at ELSE {self._time} END "
            f"WHERE run_id = {self._mark} AND (status = 'running' OR {_LOST_STEP})"
        )
        rows = [(STEP_ERROR, time, time, id_) for id_, at in sorted(run_ids.items()) for time in (self._rows.time(at),)]
        self._bulk.run_many(self._connection, sql, rows)

    def revive_steps(self, run_ids: Iterable[str]) -> None:
        """Open the model runs again that were ended by the loss of their run."""
        sql = (
            "UPDATE model_runs SET status = 'running', stop_reason = NULL, error = NULL, completed_at = NULL "
            f"WHERE {self._bulk.among('run_id')} AND {_LOST_STEP}"
        )
        self._run(sql, self._bulk.ids(sorted(run_ids)))

    def replace_parents(self, trace_id: str, rows: Mapping[str, str | None]) -> None:
        """In one trace, replace each presumed parent by the row that it turned out to be: old -> new."""
        if rows:
            self._bulk.replace_parents(self._connection, trace_id, rows)

    def move_model_runs(self, run_of: Mapping[str, str]) -> None:
        """Move model runs to other runs: id -> run id."""
        if run_of:
            self._bulk.move(self._connection, run_of)

    # Links.

    def links_of_traces(self, trace_ids: Sequence[str]) -> list[Link]:
        """All links of the traces."""
        return [Link(*row) for row in self._of_traces("id, parent_id, run_id, trace_id", "span_links", trace_ids)]

    def find_links(self, ids: Iterable[str]) -> dict[str, str | None]:
        """Node -> parent node, of those of the nodes that have a link."""
        sql = f"SELECT id, parent_id FROM span_links WHERE {self._bulk.among('id')}"
        return {row[0]: row[1] for row in self._read(sql, self._bulk.ids(sorted(ids)))}

    def insert_links(self, links: Sequence[Link]) -> None:
        """Write links that are not stored yet."""
        if links:
            self._bulk.insert(self._connection, span_links, self._bulk.packed(span_links, map(tuple, links)))

    def save_links(self, links: Sequence[Link]) -> None:
        """Overwrite links."""
        self._bulk.save(self._connection, span_links, [tuple(link) for link in links])

    # Models.

    def find_models(self, ids: Sequence[str], *, lock: bool = False) -> dict[str, StoredModel]:
        """Those of the models that exist; with ``lock`` nobody else changes them until the transaction ends."""
        sql = (
            f"SELECT id, kind, created_at, updated_at, declared_by FROM models WHERE {self._bulk.among('id')} "
            f"ORDER BY id{self._bulk.for_no_key_update if lock else ''}"
        )
        return {
            row[0]: StoredModel(row[1], ns_from_value(row[2]) or 0, ns_from_value(row[3]) or 0, row[4])
            for row in self._read(sql, self._bulk.ids(ids))
        }

    def insert_models(self, found: Sequence[tuple[Model, StoredModel]]) -> None:
        """Insert models that do not exist yet; those that do are left alone.

        Without a conflict target: with one, the other unique key would still race.
        """
        self._bulk.insert_new(self._connection, models, [self._model(*each) for each in found])

    def save_models(self, found: Sequence[tuple[Model, StoredModel]]) -> None:
        """Write models that are known, in the order of their ids."""
        rows = sorted(self._model(*each) for each in found)
        self._bulk.save(self._connection, models, rows)

    def touch_models(self, found: Mapping[str, StoredModel]) -> None:
        """Write kind and times of models, but nothing that was declared."""
        sql = (
            f"UPDATE models SET kind = {self._mark}, created_at = {self._time}, updated_at = {self._time} "
            f"WHERE id = {self._mark}"
        )
        rows = [
            (stored.kind, self._rows.time(stored.created_at), self._rows.time(stored.updated_at), id_)
            for id_, stored in sorted(found.items())
        ]
        self._bulk.run_many(self._connection, sql, rows)

    def replace_dependencies(self, parents_of: Mapping[str, Iterable[str]]) -> None:
        """Replace what each model depends on. Model id -> ids of its parents."""
        if not parents_of:
            return
        self._run(f"DELETE FROM dependencies WHERE {self._bulk.among('model_id')}", self._bulk.ids(sorted(parents_of)))
        rows = sorted((model_id, parent) for model_id, parents in parents_of.items() for parent in set(parents))
        self._bulk.insert_new(self._connection, dependencies, rows)

    # Environments.

    def find_environments(self, names: Sequence[str], *, lock: bool = False) -> dict[str, StoredEnvironment]:
        """Those of the environments that exist; with ``lock`` nobody else changes them until the transaction ends."""
        sql = (
            f"SELECT name, created_at, updated_at, declared_by FROM environments WHERE {self._bulk.among('name')} "
            f"ORDER BY name{self._bulk.for_no_key_update if lock else ''}"
        )
        return {
            row[0]: StoredEnvironment(ns_from_value(row[1]) or 0, ns_from_value(row[2]) or 0, row[3])
            for row in self._read(sql, self._bulk.ids(names))
        }

    def insert_environments(self, first_seen: Mapping[str, int]) -> None:
        """Insert environments that do not exist yet, of which no commit is known; those that do are left alone."""
        rows = self._environments({name: (None, StoredEnvironment(at, at, "")) for name, at in first_seen.items()})
        self._bulk.insert_new(self._connection, environments, rows)

    def save_environments(self, found: Mapping[str, tuple[str | None, StoredEnvironment]]) -> None:
        """Write environments that are known. Name -> commit and what decided."""
        self._bulk.save(self._connection, environments, self._environments(found))

    def touch_environments(self, found: Mapping[str, StoredEnvironment]) -> None:
        """Write times of environments, but no commit."""
        sql = f"UPDATE environments SET created_at = {self._time}, updated_at = {self._time} WHERE name = {self._mark}"
        rows = [
            (self._rows.time(stored.created_at), self._rows.time(stored.updated_at), name)
            for name, stored in sorted(found.items())
        ]
        self._bulk.run_many(self._connection, sql, rows)

    # Below: how statements reach the driver.

    @property
    def _mark(self) -> str:
        return self._bulk.mark

    @property
    def _time(self) -> str:
        return self._bulk.time_mark

    def _model(self, model: Model, stored: StoredModel) -> tuple[object, ...]:
        time = self._rows.time
        return (
            *model[:3],
            stored.kind,
            *model[4:8],
            json_text(model.tags),
            time(stored.created_at),
            time(stored.updated_at),
            stored.declared_by,
        )

    def _environments(self, found: Mapping[str, tuple[str | None, StoredEnvironment]]) -> list[tuple[object, ...]]:
        time = self._rows.time
        return [
            (name, commit_ref, time(stored.created_at), time(stored.updated_at), stored.declared_by)
            for name, (commit_ref, stored) in sorted(found.items())
        ]

    def _of_traces(self, columns: str, table: str, trace_ids: Sequence[str]) -> list[Any]:
        return [
            row
            for ids, padded in _by_padding(trace_ids)
            for row in self._read(self._bulk.by_trace(columns, table, padded=padded), self._bulk.ids(ids))
        ]

    def _read(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        return list(self._connection.exec_driver_sql(sql, parameters).fetchall())

    def _run(self, sql: str, parameters: tuple[object, ...]) -> None:
        self._connection.exec_driver_sql(sql, parameters)


class NothingStored(Writer):
    """Reads what an empty database would answer, without one. Makes rows; writes none.

    Args:
        dialect: the name of the database that they are made for.
    """

    def __init__(self, dialect: str) -> None:
        self._bulk = bulk_of(dialect)
        self._rows = Rows(self._bulk.time_suffix)

    def _read(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:  # noqa: ARG002  as Writer
        return []
