"""How far a run is, in words: a line for a log, a few lines for a terminal, an object for a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from otel_runs.cli.details import SILENCE_WORTH_TELLING, Detail, grid
from otel_runs.cli.statuses import status_mark, status_text, style_of
from otel_runs.cli.text import cost, count, duration, one_line, percent, short_id
from otel_runs.cli.text import time as time_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from rich.console import RenderableType

    from otel_runs.cli.output import Marks
    from otel_runs.query.progress import Expectation, Progress, RunningStep, Timing
    from otel_runs.query.results import StoredRun

STEPS_SHOWN: Final = 8
"""How many of the steps that run now are drawn; what started last is kept."""
NAMES_IN_A_LINE: Final = 3
_BAR_WIDTH: Final = 40


class Seen(NamedTuple):
    """What one look at a run has found."""

    now: datetime
    progress: Progress
    expected: Expectation
    timing: Timing
    step_seconds: Mapping[str, float]
    """By model id: how long a step is expected to take."""


def progress_line(seen: Seen, marks: Marks) -> str:
    """One line for a log: when, which run, how far, how long, what runs now."""
    run = seen.progress.run
    parts = [
        f"{time_text(seen.now)}Z",
        short_id(run.id),
        one_line(run.name),
        one_line(run.status),
        _steps(seen),
        _elapsed(seen),
        _now_running(seen.progress),
        *(f"{name.lower()} {value}" for name, value in _totals(run, marks)),
    ]
    if seen.timing.silent is not None and seen.timing.silent > SILENCE_WORTH_TELLING:
        parts.append(f"no sign of life for {duration(seen.timing.silent)}")
    return "  ".join(part for part in parts if part)


def progress_panel(seen: Seen, marks: Marks) -> RenderableType:
    """What a terminal shows while the run goes on."""
    run = seen.progress.run
    title = Text.assemble(
        status_mark(run.status, marks),
        " ",
        (one_line(run.name), "bold"),
        "  ",
        (short_id(run.id), "cyan"),
        "  ",
        status_text(run.status),
    )
    parts: list[RenderableType] = [title]
    done = _done_part(seen)
    if done is not None:
        bar = marks.bar * round(done * _BAR_WIDTH)
        parts.append(Text.assemble((bar.ljust(_BAR_WIDTH), style_of("completed")), f" {percent(done * 100)}"))
    parts.append(grid(list(_facts(seen, marks))))
    if seen.progress.running:
        parts.append(_running_table(seen, marks))
    return Group(*parts)


def progress_object(seen: Seen) -> dict[str, object]:
    """The same for a machine."""
    progress, expected, timing = seen.progress, seen.expected, seen.timing
    return {
        "at": seen.now,
        "run": progress.run._asdict(),
        "steps_ended": progress.ended,
        "steps_seen": progress.seen,
        "steps_known": _known_steps(seen),
        "running": [
            {**step._asdict(), "elapsed_seconds": _step_elapsed(seen, step), "expected_seconds": _expected(seen, step)}
            for step in progress.running
        ],
        "elapsed_seconds": timing.elapsed,
        "expected_seconds": expected.seconds,
        "expected_from_runs": expected.runs,
        "remaining_seconds": timing.remaining,
        "silent_seconds": timing.silent,
        "clock_ahead_seconds": timing.skew,
    }


def _facts(seen: Seen, marks: Marks) -> Iterator[Detail]:
    yield Detail("Steps", Text(_steps(seen)))
    yield Detail("Time", Text(f"{_elapsed(seen)}{_basis(seen)}"))
    for name, value in _totals(seen.progress.run, marks):
        yield Detail(name, Text(value))
    if seen.timing.silent is not None:
        long = seen.timing.silent > SILENCE_WORTH_TELLING
        yield Detail("Sign of life", Text(f"{duration(seen.timing.silent)} ago", style="bold red" if long else ""))
    if seen.timing.skew is not None:
        ahead = duration(seen.timing.skew)
        yield Detail("Clocks", Text(f"the run's clock is ahead of this machine's by {ahead}", style="yellow"))


def _running_table(seen: Seen, marks: Marks) -> Table:
    steps = seen.progress.running
    drawn = Table.grid(padding=(0, 2, 0, 0))
    drawn.add_column(overflow="ellipsis", no_wrap=True)
    drawn.add_column(justify="right", no_wrap=True)
    drawn.add_column(style="dim", no_wrap=True)
    for step in steps[-STEPS_SHOWN:]:
        usual = _expected(seen, step)
        name = Text.assemble(status_mark("running", marks), f" {one_line(step.name)}")
        drawn.add_row(name, duration(_step_elapsed(seen, step)), "" if usual is None else f"of about {duration(usual)}")
    hidden = _not_shown(seen.progress, STEPS_SHOWN)
    if hidden:
        drawn.add_row(Text(f"and {count(hidden)} more", style=style_of("running")), "", "")
    return drawn


def _totals(run: StoredRun, marks: Marks) -> Iterator[tuple[str, str]]:
    if run.rows_in is not None or run.rows_out is not None:
        yield "Rows", f"{count(run.rows_in)} {marks.arrow} {count(run.rows_out)}"
    if run.tokens is not None:
        yield "Tokens", count(run.tokens)
    if run.cost_usd is not None:
        yield "Cost", cost(run.cost_usd)


def _known_steps(seen: Seen) -> int:
    return max(seen.expected.steps or 0, seen.progress.seen)


def _steps(seen: Seen) -> str:
    """``7 of 12 steps``: of those of the latest run like it, or of those seen so far."""
    if not _known_steps(seen):
        return "no steps yet"
    so_far = " so far" if (seen.expected.steps or 0) < seen.progress.seen else ""
    return f"{count(seen.progress.ended)} of {count(_known_steps(seen))} steps{so_far}"


def _done_part(seen: Seen) -> float | None:
    """Which part of the run is done, 0 to 1; None where earlier runs do not tell."""
    if seen.expected.steps is None:
        return None
    return seen.progress.ended / max(1, _known_steps(seen))


def _elapsed(seen: Seen) -> str:
    elapsed, usual = seen.timing.elapsed, seen.expected.seconds
    if usual is None:
        return duration(elapsed)
    if elapsed > usual:
        return f"{duration(elapsed)}, {duration(elapsed - usual)} more than usual"
    return f"{duration(elapsed)} of about {duration(usual)}"


def _basis(seen: Seen) -> str:
    if not seen.expected.runs or seen.timing.remaining is None:
        return ""
    left = f", about {duration(seen.timing.remaining)} left" if seen.timing.remaining else ""
    runs = "1 earlier run" if seen.expected.runs == 1 else f"the median of {seen.expected.runs} earlier runs"
    return f"{left} ({runs})"


def _now_running(progress: Progress) -> str:
    if not progress.running:
        return ""
    names = [one_line(step.name) for step in progress.running[-NAMES_IN_A_LINE:]]
    more = _not_shown(progress, NAMES_IN_A_LINE)
    return f"now: {', '.join(names)}" + (f" and {count(more)} more" if more else "")


def _not_shown(progress: Progress, shown: int) -> int:
    """How many running steps there are beside those shown; all are counted, not all are read."""
    return progress.seen - progress.ended - min(shown, len(progress.running))


def _expected(seen: Seen, step: RunningStep) -> float | None:
    return None if step.model_id is None else seen.step_seconds.get(step.model_id)


def _step_elapsed(seen: Seen, step: RunningStep) -> float:
    now = max(seen.now, seen.progress.run.started_at)
    return max(0.0, (now - step.started_at).total_seconds())
