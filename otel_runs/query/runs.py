"""Runs: pages of the list, and one run by whatever a person calls it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from sqlalchemy import literal, select, tuple_

from otel_runs.errors import AmbiguousIdError, NotFoundError
from otel_runs.mapping.coerce import clean
from otel_runs.query.filters import RunFilters, conditions
from otel_runs.query.relations import v_model_runs, v_runs
from otel_runs.query.results import StoredRun
from otel_runs.records import EXTERNAL_ID_LENGTH
from otel_runs.store.types import UtcTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select, Tuple

    from otel_runs.store.engine import Database

CANDIDATES_TOLD: Final = 10
"""How many candidates the message about an ambiguous id lists."""

_UUID_DIGITS: Final = 32
_SPAN_ID_DIGITS: Final = 16
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{1,32}")
_ALL: Final = RunFilters()
_first_runs: Final = select(*v_runs.c).order_by(v_runs.c.id).limit(CANDIDATES_TOLD + 1)


class Cursor(NamedTuple):
    """A place in the list of runs, which is ordered by start and id."""

    started_at: datetime
    id: str


def cursor_of(run: StoredRun) -> Cursor:
    """The place of a run in the list."""
    return Cursor(run.started_at, run.id)


def list_runs(
    database: Database,
    filters: RunFilters = _ALL,
    *,
    limit: int,
    before: Cursor | None = None,
    after: Cursor | None = None,
) -> list[StoredRun]:
    """One page of runs, the newest first.

    Args:
        database: where to read.
        filters: which runs.
        limit: the most runs to return; those next to the cursor.
        before: only runs older than this place.
        after: only runs newer than this place; without ``before`` the oldest of these are returned, still newest first.

    Raises:
        StoreError: the database could not be read.
    """
    place = tuple_(v_runs.c.started_at, v_runs.c.id)
    wanted = select(*v_runs.c).where(*conditions(filters))
    if before is not None:
        wanted = wanted.where(place < _bound(before))
    if after is not None:
        wanted = wanted.where(place > _bound(after))
    upwards = after is not None and before is None
    columns = (v_runs.c.started_at, v_runs.c.id)
    wanted = wanted.order_by(*(column.asc() if upwards else column.desc() for column in columns)).limit(limit)
    with database.read() as connection:
        page = read_runs(connection, wanted)
    return page[::-1] if upwards else page


def get_run(database: Database, id_or_prefix: str) -> StoredRun:
    """The run that a person means.

    The first of these that fits a run:

    1. its id, or the id it was given by the user (``external_id``);
    2. the beginning of a top-level run's id or trace id, with or without dashes;
    3. the id of any of its traces;
    4. the beginning of a nested run's id or span id. (Nested runs share the first half of their id with their
       top-level run, so the short form of a nested run's id is the beginning of its span id.)

    Raises:
        NotFoundError: no run fits.
        AmbiguousIdError: more than one run fits equally well; ``candidates`` holds their ids.
        StoreError: the database could not be read.
    """
    asked = clean(id_or_prefix.strip())
    with database.read() as connection:
        for condition in _meanings(asked):
            found = read_runs(connection, _first_runs.where(condition))
            if len(found) == 1:
                return found[0]
            if found:
                raise _ambiguous(asked, found)
    msg = (
        f"No run is called {asked!r}; expected a run's id, its beginning, a trace id or your own id of the run. "
        "List the runs with: otel-runs tail"
    )
    raise NotFoundError(msg)


def latest_run(database: Database, filters: RunFilters = _ALL) -> StoredRun:
    """The run that started last.

    Raises:
        NotFoundError: no run passes the filters.
        StoreError: the database could not be read.
    """
    newest = list_runs(database, filters, limit=1)
    if not newest:
        msg = "There are no runs yet."
        raise NotFoundError(msg)
    return newest[0]


def list_values(database: Database, column: Literal["name", "environment"]) -> list[str]:
    """The values that a column of the runs holds, in alphabetical order.

    Raises:
        StoreError: the database could not be read.
    """
    values = v_runs.c[column]
    with database.read() as connection:
        return list(connection.scalars(select(values).distinct().order_by(values)))


def read_runs(connection: Connection, wanted: Select[tuple[object, ...]]) -> list[StoredRun]:
    """The runs of a SELECT that names the columns of ``v_runs`` in their order."""
    return [StoredRun._make(row) for row in connection.execute(wanted)]


def _bound(cursor: Cursor) -> Tuple:
    return tuple_(literal(cursor.started_at, UtcTime()), literal(cursor.id))


def _meanings(asked: str) -> Iterator[ColumnElement[bool]]:
    """What the text may mean, the most exact first."""
    yield v_runs.c.id == asked.lower()
    yield v_runs.c.external_id == asked[:EXTERNAL_ID_LENGTH]
    digits = asked.lower().replace("-", "")
    if not _HEXADECIMAL.fullmatch(digits):
        return
    yield v_runs.c.parent_run_id.is_(None) & _begins_with(v_runs.c.id, digits)
    if len(digits) == _UUID_DIGITS:
        # Model runs know their own trace, the run of several traces only its earliest; their ids begin with it.
        its_model_runs = _begins_with(v_model_runs.c.id, digits[:16])
        yield v_runs.c.trace_id == digits
        yield v_runs.c.id.in_(select(v_model_runs.c.run_id).where(its_model_runs, v_model_runs.c.trace_id == digits))
    nested = v_runs.c.parent_run_id.is_not(None)
    yield nested & _begins_with(v_runs.c.id, digits)
    if len(digits) <= _SPAN_ID_DIGITS:
        yield nested & v_runs.c.root_span_id.between(digits.ljust(16, "0"), digits.ljust(16, "f"))


def _begins_with(column: ColumnElement[str], digits: str) -> ColumnElement[bool]:
    """Whether a UUID begins with these digits.

    A range, not LIKE: the index of the primary key serves it on every database and in every collation, because all
    ids are UUIDs in lower case, with their dashes in the same places. Not BETWEEN: SQLAlchemy adds a COLLATE to its
    bounds that PostgreSQL does not take there.
    """
    lowest, highest = digits.ljust(_UUID_DIGITS, "0"), digits.ljust(_UUID_DIGITS, "f")
    return (column >= _as_uuid(lowest)) & (column <= _as_uuid(highest))


def _as_uuid(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _ambiguous(asked: str, found: list[StoredRun]) -> AmbiguousIdError:
    told = found[:CANDIDATES_TOLD]
    lines = [_candidate(run) for run in told]
    more = ["  ..."] if len(found) > len(told) else []
    msg = "\n".join([f"{asked!r} fits more than one run; give more of the id:", *lines, *more])
    return AmbiguousIdError(msg, candidates=tuple(run.id for run in told))


def _candidate(run: StoredRun) -> str:
    name = " ".join(run.name.split())  # a line end in it would make it look like one more candidate
    return f"  {run.id}  {name}  {run.status}  {run.started_at:%Y-%m-%d %H:%M:%S} UTC"
