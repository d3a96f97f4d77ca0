"""What the read side selects from: views, typed like the tables below them, and the table of model runs.

Anybody may write to the tables, so a value may be there that its type cannot read (SQLite takes everything everywhere).
It must not keep the other rows from being read, or at least say where it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Float, TableClause, Text, TypeDecorator, column, table

from otel_runs.errors import StoreValueError
from otel_runs.query.results import ModelStatistics, StoredModelRun, StoredRun
from otel_runs.store import tables
from otel_runs.store.types import Json, UtcTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Dialect, Table
    from sqlalchemy.types import TypeEngine


class _Metadata(TypeDecorator[Any]):
    """A JSON object; anything else, also text that is no JSON, is the value of its only key, ``metadata``."""

    impl = Json
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Read what the database gives."""
        read = super().result_processor(dialect, coltype)

        def processed(value: Any) -> Any:
            found = value
            with suppress(ValueError):
                found = read(value) if read is not None else value
            return found if found is None or isinstance(found, dict) else {"metadata": found}

        return processed


class _Time(UtcTime):
    """A time; text that is none is an error that says where it stands."""

    cache_ok = True

    def __init__(self, place: str) -> None:
        """A time of a column, ``table.column``."""
        super().__init__()
        self.place = place

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Read what the database gives."""
        read = super().result_processor(dialect, coltype)

        def processed(value: Any) -> Any:
            try:
                return read(value) if read is not None else value
            except (TypeError, ValueError) as exc:
                raise StoreValueError(_no_time(self.place, value)) from exc

        return processed


def _no_time(place: str, value: object) -> str:
    relation, _, field = place.partition(".")
    given = str(value).replace("'", "''")
    where = f"WHERE {field} = '{given}'"
    find = f"SELECT id FROM {relation} {where}"  # noqa: S608  for a person to run
    return f"{place} of a row is {value!r}, which is no time; expected YYYY-MM-DD HH:MM:SS.ffffff. Find the row: {find}"


_STATISTICS_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    **dict.fromkeys(("runs", "successful", "failed", "skipped", "min_ms", "max_ms", "rows_affected"), BigInteger()),
    **dict.fromkeys(("success_rate", "avg_ms"), Float()),
    "last_started_at": _Time("model_runs.started_at"),
}


def _view(name: str, fields: Iterable[str], types: Mapping[str, TypeEngine[Any]]) -> TableClause:
    return table(name, *(column(field, types.get(field, Text())) for field in fields))


def _types(of: Table) -> dict[str, TypeEngine[Any]]:
    return {column_.name: _read_as(column_.type, f"{of.name}.{column_.name}") for column_ in of.c}


def _read_as(type_: TypeEngine[Any], place: str) -> TypeEngine[Any]:
    if isinstance(type_, UtcTime):
        return _Time(place)
    return _Metadata() if type_ is Json else type_


v_runs: Final = _view("v_runs", StoredRun._fields, {**_types(tables.runs), "steps_missing": BigInteger()})
v_model_runs: Final = _view("v_model_runs", StoredModelRun._fields, _types(tables.model_runs))
model_runs: Final = _view("model_runs", (column_.name for column_ in tables.model_runs.c), _types(tables.model_runs))
"""The table itself, for questions that need no name of a model or run."""
v_model_stats: Final = _view("v_model_stats", ModelStatistics._fields, _STATISTICS_TYPES)
