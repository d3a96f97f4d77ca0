"""``otel-runs tail``: the last runs, once or as they come."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.text import Text

from otel_runs.cli.history import find_history, nothing_yet
from otel_runs.cli.looking import Looking
from otel_runs.cli.output import fields, hint, marks, print_json, put, stdout
from otel_runs.cli.statuses import status_text, style_of
from otel_runs.cli.tables import Column, layout, table
from otel_runs.cli.text import count, duration, one_line, or_nothing, short_id
from otel_runs.cli.text import time as time_text
from otel_runs.query.changes import OPEN_STATUSES, list_runs_by_id, list_states
from otel_runs.query.filters import RunFilters
from otel_runs.query.runs import list_runs
from otel_runs.records import TERMINAL_RUN_STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_runs.cli.output import Marks
    from otel_runs.cli.tables import Layout
    from otel_runs.query.changes import RunState
    from otel_runs.query.results import StoredRun
    from otel_runs.store.engine import Database

COLUMNS: Final = (
    Column("Run ID", at_least=8),
    Column("Name", shrinks=True),
    Column("Status", at_least=9),
    Column("Started At (UTC)", at_least=19, leaves=3),
    Column("Rows In", right=True, leaves=1),
    Column("Rows Out", right=True, leaves=2),
    Column("Duration", right=True, leaves=4),
    Column("Steps", right=True, optional=True),
    Column("Tokens", right=True, optional=True),
    Column("Env", optional=True),
)


class Tail(NamedTuple):
    """What was asked for."""

    limit: int
    statuses: tuple[str, ...]
    name: str | None
    environment: str | None
    nested: bool
    json: bool

    def filters(self) -> RunFilters:
        """The same as the read side takes it."""
        return RunFilters(
            status=self.statuses,
            name=self.name,
            environment=self.environment,
            top_level=None if self.nested else True,
        )


class Staying(NamedTuple):
    """How to stay and look again."""

    interval: float
    """Seconds between two looks."""
    timeout: float | None
    """Seconds to stay; None: until Ctrl-C."""


def run_tail(url: str | None, asked: Tail, staying: Staying | None) -> None:
    """List runs, and stay for more if asked to.

    Args:
        url: the run database.
        asked: which runs, and how to print them.
        staying: None: list them and be done.

    Raises:
        StoreError: the database could not be read.
    """
    if staying is None:
        _list(url, asked)
    else:
        _follow(url, asked, staying)


def _list(url: str | None, asked: Tail) -> None:
    database = find_history(url)
    if database is None:
        _print_nothing(asked, nothing_yet(url))
        return
    with database:
        runs = list_runs(database, asked.filters(), limit=asked.limit)[::-1]
        if not runs:
            _print_nothing(asked, _nothing_found(database, url))
            return
    if asked.json:
        print_json(fields(runs))
        return
    console = stdout()
    rows = cells(runs, marks(console))
    put(console, table(console, layout(console, COLUMNS, rows), rows))


def _nothing_found(database: Database, url: str | None) -> str:
    if list_runs(database, RunFilters(), limit=1):
        return "No run fits. Widen --status, --name or --env; --all lists nested runs, too."
    return nothing_yet(url)


def _print_nothing(asked: Tail, why: str) -> None:
    hint(why)
    if asked.json:
        print_json([])


def _follow(url: str | None, asked: Tail, staying: Staying) -> None:
    follower = _Follower(asked)
    # Ctrl-C is how a person says that it is enough.
    with suppress(KeyboardInterrupt):
        Looking(url, interval=staying.interval, timeout=staying.timeout).until(follower.look)


class _Follower:
    """Prints runs that are new or have changed since it last looked."""

    def __init__(self, asked: Tail) -> None:
        self._asked = asked
        self._console = stdout()
        self._layout: Layout | None = None
        self._seen: dict[str, RunState] | None = None

    def look(self, database: Database) -> bool:
        """Print what is new. Returns False: it never has seen enough."""
        filters = self._asked.filters()
        if self._seen is None:
            # In this order: what starts between the two is listed.
            self._seen = {state.id: state for state in list_states(database, filters)}
            self._print(list_runs(database, filters, limit=self._asked.limit)[::-1])
            return False
        open_ids = [state.id for state in self._seen.values() if state.status in OPEN_STATUSES]
        states = {state.id: state for state in list_states(database, filters, also=open_ids)}
        changed = [id_ for id_, state in states.items() if self._seen.get(id_) != state]
        self._seen = states
        if changed:
            self._print(list_runs_by_id(database, changed))
        return False

    def _print(self, runs: list[StoredRun]) -> None:
        if self._asked.json:
            for run in runs:
                print_json(run._asdict(), lines=True)
            return
        rows = cells(runs, marks(self._console))
        header = self._layout is None
        if header:
            self._layout = layout(self._console, COLUMNS, rows, boxed=False)
        if self._layout is not None and (rows or header):
            put(self._console, table(self._console, self._layout, rows, header=header))
            # What reads a pipe is to have it now, not when a buffer is full.
            self._console.file.flush()


def cells(runs: Sequence[StoredRun], marks: Marks) -> list[list[Text]]:
    """The runs as rows of the table."""
    now = datetime.now(UTC)
    return [_cells(run, now, marks) for run in runs]


def _cells(run: StoredRun, now: datetime, marks: Marks) -> list[Text]:
    return [
        _id_text(run, marks),
        Text(one_line(run.name)),
        status_text(run.status),
        Text(time_text(run.started_at)),
        Text(count(run.rows_in)),
        Text(count(run.rows_out)),
        Text(duration(seconds_of(run, now))),
        _steps_text(run),
        Text(count(run.tokens)),
        Text(or_nothing(run.environment)),
    ]


def _steps_text(run: StoredRun) -> Text:
    """How many steps are recorded; where some are missing, of how many."""
    if run.completeness == "partial":
        return Text(f"{count(run.steps)} of {count(run.steps_expected)}", style=style_of("running"))
    return Text(count(run.steps))


def seconds_of(run: StoredRun, now: datetime) -> float | None:
    """How long the run took, or has taken so far."""
    if run.duration_seconds is not None or run.status in TERMINAL_RUN_STATUSES:
        return run.duration_seconds
    return max(0.0, (now - run.started_at).total_seconds())


def _id_text(run: StoredRun, marks: Marks) -> Text:
    """The short id. That of a nested run is its span's: its own begins like that of the run it is in."""
    if run.parent_run_id is None:
        return Text(short_id(run.id), style="cyan")
    return Text(marks.nested + short_id(run.root_span_id or run.id), style="cyan")
