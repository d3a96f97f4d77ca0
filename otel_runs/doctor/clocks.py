"""Clocks that differ: times in the future, and children that start before their parents."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from otel_runs.amounts import many
from otel_runs.doctor.finding import Finding, some
from otel_runs.query.health import NEWEST_WITH_STEPS, early_steps, newest_runs, open_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from otel_runs.query.health import EarlyStep, RunHealth
    from otel_runs.store.engine import Database

TOLERATED: Final = timedelta(seconds=2)
"""Clocks that NTP keeps differ by milliseconds."""
_DO: Final = "Have the machines keep their time by NTP (timedatectl status; chronyc tracking)."


def findings(database: Database, now: datetime) -> Iterator[Finding]:
    """Times in the tables that two agreeing clocks would not have written."""
    newest = newest_runs(database)
    yield from future({run.id: run for run in (*newest, *open_runs(database))}.values(), now)
    yield from early(early_steps(database, [run.id for run in newest[:NEWEST_WITH_STEPS]]))


def future(runs: Iterable[RunHealth], now: datetime) -> Iterator[Finding]:
    """Runs with times that lie ahead of now."""
    ahead = {f"{run.name} ({run.id[:8]})": _latest(run) - now for run in runs}
    found = {name: by for name, by in ahead.items() if by > TOLERATED}
    if found:
        by = max(found.values())
        yield Finding(
            "future-times",
            "warning",
            f"Times lie up to {by.total_seconds():,.0f} s ahead of this machine's clock: {some(list(found))}.",
            "The clock of the machine that ran them, or this one's, is wrong. Elapsed times and signs of life cannot "
            "be reckoned right, and the order of runs is not that in which they started.",
            _DO,
        )


def early(steps: list[EarlyStep]) -> Iterator[Finding]:
    """Steps that start before what they are in: of two machines, or of a clock that was set back."""
    found = [step for step in steps if step.above_started_at - step.started_at > TOLERATED]
    if found:
        by = max(step.above_started_at - step.started_at for step in found)
        named = some([f"{step.name} in {step.above} ({step.run_id[:8]})" for step in found])
        yield Finding(
            "early-steps",
            "warning",
            f"{many(len(found), 'step starts', 'steps start')} up to {by.total_seconds():,.0f} s before what they are "
            f"in: {named}.",
            "Two machines that worked on one run have clocks that differ, or a clock was set back while it ran. "
            "Durations of each step are right; their place in the run's time is not.",
            _DO,
        )


def _latest(run: RunHealth) -> datetime:
    return max(filter(None, (run.started_at, run.completed_at, run.heartbeat_at)))
