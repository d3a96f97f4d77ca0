"""What runs can be filtered by: one table, read by the query and by the faces over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import func

from otel_runs.mapping.coerce import clean
from otel_runs.query.relations import v_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement

ANY_TEXT: Final = "*"
"""In a name asked for: stands for any text."""


class RunFilters(NamedTuple):
    """Which runs are asked for; an empty tuple or None asks for all. The names are those of ``FILTERS``."""

    status: tuple[str, ...] = ()
    name: str | None = None
    environment: str | None = None
    parent_run_id: str | None = None
    top_level: bool | None = None


class Filter(NamedTuple):
    """One thing runs can be filtered by."""

    name: str
    help: str
    condition: Callable[[Any], ColumnElement[bool]]


def _name_is(name: str) -> ColumnElement[bool]:
    if ANY_TEXT not in name:
        return v_runs.c.name == name
    # Lower-cased on both sides: LIKE minds the case on PostgreSQL and ignores it on SQLite.
    escaped = name.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_").replace(ANY_TEXT, "%")
    return func.lower(v_runs.c.name).like(func.lower(escaped), escape="\\")


def _is_top_level(wanted: bool) -> ColumnElement[bool]:  # noqa: FBT001  conditions take the value of their filter
    return v_runs.c.parent_run_id.is_(None) if wanted else v_runs.c.parent_run_id.is_not(None)


FILTERS: Final[tuple[Filter, ...]] = (
    Filter("status", "The run's status is one of these.", v_runs.c.status.in_),
    Filter("name", "The run's name. * stands for any text; letter case then does not matter.", _name_is),
    Filter("environment", "The run's environment.", lambda name: v_runs.c.environment == name),
    Filter("parent_run_id", "The run that the run is nested in.", lambda run_id: v_runs.c.parent_run_id == run_id),
    Filter("top_level", "True: only runs that are not nested in another; false: only nested ones.", _is_top_level),
)


def conditions(filters: RunFilters) -> list[ColumnElement[bool]]:
    """The SQL conditions of the filters that ask for something."""
    asked = filters._asdict()
    return [known.condition(_clean(asked[known.name])) for known in FILTERS if asked[known.name] not in (None, ())]


def _clean(value: object) -> object:
    """Texts as they are stored: without what no database takes, in a question neither."""
    if isinstance(value, tuple):
        return tuple(map(_clean, value))
    return clean(value) if isinstance(value, str) else value
