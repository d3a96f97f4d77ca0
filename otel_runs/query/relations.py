"""The views that the read side selects from, typed like the tables below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Float, TableClause, Text, column, table

from otel_runs.query.results import ModelStatistics, StoredModelRun, StoredRun
from otel_runs.store import tables
from otel_runs.store.types import UtcTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Table
    from sqlalchemy.types import TypeEngine

_STATISTICS_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    **dict.fromkeys(("runs", "successful", "failed", "skipped", "min_ms", "max_ms", "rows_affected"), BigInteger()),
    **dict.fromkeys(("success_rate", "avg_ms"), Float()),
    "last_started_at": UtcTime(),
}


def _view(name: str, fields: Iterable[str], types: Mapping[str, TypeEngine[Any]]) -> TableClause:
    return table(name, *(column(field, types.get(field, Text())) for field in fields))


def _types(of: Table) -> dict[str, TypeEngine[Any]]:
    return {column_.name: column_.type for column_ in of.c}


v_runs: Final = _view("v_runs", StoredRun._fields, {**_types(tables.runs), "steps_missing": BigInteger()})
v_model_runs: Final = _view("v_model_runs", StoredModelRun._fields, _types(tables.model_runs))
v_model_stats: Final = _view("v_model_stats", ModelStatistics._fields, _STATISTICS_TYPES)
