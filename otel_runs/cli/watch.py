"""``otel-runs watch``: one run, from now until it has ended."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import typer
from rich.live import Live

from otel_runs.cli import exits
from otel_runs.cli.looking import Looking
from otel_runs.cli.output import hint, marks, print_json, stdout
from otel_runs.cli.progress import Seen, progress_line, progress_object, progress_panel
from otel_runs.cli.show import STEPS_SHOWN, exit_code_of, print_run
from otel_runs.errors import NotFoundError
from otel_runs.query.changes import OPEN_STATUSES
from otel_runs.query.filters import RunFilters
from otel_runs.query.progress import expectation, expected_step_seconds, get_progress, timing
from otel_runs.query.runs import get_run, list_runs
from otel_runs.query.tree import get_run_tree
from otel_runs.records import TERMINAL_RUN_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from otel_runs.query.progress import Expectation, Progress
    from otel_runs.query.results import RunTree
    from otel_runs.store.engine import Database

_OPEN: Final = RunFilters(status=OPEN_STATUSES, top_level=True)


class Watch(NamedTuple):
    """What was asked for."""

    run_id: str | None
    """None: the run that started last, of those that run."""
    interval: float
    timeout: float | None
    json: bool


def run_watch(url: str | None, asked: Watch) -> None:
    """Watch a run until it has ended, and say how.

    Raises:
        NotFoundError: there is no such run.
        AmbiguousIdError: there are several.
        StoreError: the database could not be read.
        typer.Exit: with the exit code that says how the run ended, or that it has not.
    """
    watcher = _Watcher(asked)
    looking = Looking(url, interval=asked.interval, timeout=asked.timeout)
    try:
        with _display(asked) as display:
            looking.until(lambda database: watcher.look(database, display))
    except KeyboardInterrupt:
        # Not 0 as for a list that is followed: what waits for the run's success must not go on.
        raise typer.Exit(exits.INTERRUPTED) from None
    if watcher.tree is None:
        hint("The time is up, and the run has not ended." if watcher.found else "The time is up, and no run was found.")
        raise typer.Exit(exits.RUN_NOT_ENDED)
    if not asked.json:
        print_run(watcher.tree)
    raise typer.Exit(exit_code_of(watcher.tree.run))


class _Watcher:
    """Looks at the run, and remembers what need not be asked again."""

    def __init__(self, asked: Watch) -> None:
        self._asked = asked
        self._run_id: str | None = None
        self._is_waiting = False
        self._expected: Expectation | None = None
        self._expected_of: tuple[str, str] | None = None
        self._step_seconds: dict[str, float] = {}
        self._steps_asked: set[str] = set()
        self._sign: datetime | None = None
        self._sign_changed: float | None = None
        self.tree: RunTree | None = None
        """The run, when it has ended."""

    @property
    def found(self) -> bool:
        """Whether there is a run to watch."""
        return self._run_id is not None

    def look(self, database: Database, display: _Display) -> bool:
        """Look once, and show what has changed. Returns whether the run has ended."""
        if self._run_id is None:
            self._run_id = self._find(database)
        if self._run_id is None:
            return False
        progress = get_progress(database, self._run_id)
        if progress is None:
            msg = f"The run {self._run_id} was deleted while it was watched."
            raise NotFoundError(msg)
        display.show(self._seen(database, progress))
        if progress.run.status in TERMINAL_RUN_STATUSES:
            self.tree = get_run_tree(database, progress.run, limit=STEPS_SHOWN)
        return self.tree is not None

    def _find(self, database: Database) -> str | None:
        if self._asked.run_id is not None:
            return get_run(database, self._asked.run_id).id
        running = list_runs(database, _OPEN, limit=1)
        if running:
            return running[0].id
        if not self._is_waiting:
            hint("No run is running; waiting for one to start. For the last one that has ended: otel-runs show")
        self._is_waiting = True
        return None

    def _seen(self, database: Database, progress: Progress) -> Seen:
        now = datetime.now(UTC)
        expected = self._expectation(database, progress)
        self._learn_steps(database, progress)
        times = timing(progress, expected, now, fresh=self._seconds_since_sign(progress))
        return Seen(now, progress, expected, times, self._step_seconds)

    def _expectation(self, database: Database, progress: Progress) -> Expectation:
        run = progress.run
        # A run is named after its service until its root is known.
        if self._expected is None or self._expected_of != (run.name, run.environment):
            self._expected = expectation(database, run)
            self._expected_of = (run.name, run.environment)
        return self._expected

    def _learn_steps(self, database: Database, progress: Progress) -> None:
        new = {step.model_id for step in progress.running if step.model_id is not None} - self._steps_asked
        if new:
            self._step_seconds |= expected_step_seconds(database, sorted(new), progress.run.environment)
            self._steps_asked |= new

    def _seconds_since_sign(self, progress: Progress) -> float | None:
        """Seconds since the last sign of life was seen to change, by our own clock; None where none was seen to."""
        sign, before = progress.run.heartbeat_at, self._sign
        self._sign = sign
        if sign is not None and before is not None and sign != before:
            self._sign_changed = time.monotonic()
        return None if self._sign_changed is None else time.monotonic() - self._sign_changed


class _Display(Protocol):
    """Where what is seen goes."""

    def show(self, seen: Seen) -> None:
        """Show it, if there is something new."""


@contextmanager
def _display(asked: Watch) -> Iterator[_Display]:
    console = stdout()
    if asked.json or not console.is_terminal:
        yield _Lines(console, json=asked.json)
        return
    # Nothing stays of it: the summary of the run takes its place.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield _Screen(live)


class _Screen:
    """A few lines of a terminal that are drawn anew."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, seen: Seen) -> None:
        if seen.progress.run.status not in TERMINAL_RUN_STATUSES:
            self._live.update(progress_panel(seen, marks(self._live.console)), refresh=True)


class _Lines:
    """A line each time a step starts or ends or the run's status changes, for a file or pipe."""

    def __init__(self, console: Console, *, json: bool) -> None:
        self._console = console
        self._json = json
        self._last: object = None

    def show(self, seen: Seen) -> None:
        progress = seen.progress
        state = (progress.run.status, progress.run.name, progress.ended, [step.id for step in progress.running])
        if state == self._last:
            return
        self._last = state
        if self._json:
            print_json(progress_object(seen), lines=True)
        elif progress.run.status not in TERMINAL_RUN_STATUSES:
            self._console.print(progress_line(seen, marks(self._console)), soft_wrap=True)
            self._console.file.flush()
