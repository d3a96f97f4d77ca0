"""Work whose context was lost in a thread or process: its spans became runs of their own."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from otel_runs.doctor.finding import Finding, some
from otel_runs.query.health import newest_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_runs.query.health import RunHealth
    from otel_runs.store.engine import Database

SUSPICIOUS: Final = 3
"""So many runs of one name, inside the time of one other run, are no accident."""


def findings(database: Database) -> Iterator[Finding]:
    """What looks like steps that have lost their run."""
    yield from strays(newest_runs(database))


def strays(runs: list[RunHealth]) -> Iterator[Finding]:
    """Names that only ever run inside the time of another run of the same service, several times in one of them.

    A step that is called in a thread without its context starts a trace of its own, and so a run: always while the
    pipeline runs, never by itself. Runs that start independently also start when no other runs. Pure.
    """
    by_place: dict[tuple[str | None, str], list[RunHealth]] = defaultdict(list)
    for run in runs:
        if run.parent_run_id is None and run.run_key is None and run.completed_at is not None:
            by_place[run.service_name, run.environment].append(run)
    suspected: dict[str, set[str]] = {}
    for together in by_place.values():
        for name, around in _inside(together):
            suspected.setdefault(name, set()).update(around)
    if suspected:
        named = some([f"{name} (in the time of {', '.join(sorted(around))})" for name, around in suspected.items()])
        yield Finding(
            "lost-contexts",
            "warning",
            f"These run only while another run of the same service does, several times in each: {named}.",
            "They look like steps whose context was lost: called in a thread, pool or process that was not told which "
            "run it works for, so that each became a run of its own.",
            "Wrap what the thread or pool calls in otel_runs.carry(), give child processes "
            "otel_runs.child_environment(), or use opentelemetry-instrumentation-threading: docs/instrumentation.md",
        )


def _inside(runs: list[RunHealth]) -> Iterator[tuple[str, set[str]]]:
    """Each name all of whose runs lie inside runs of another name, with those names."""
    by_name: dict[str, list[RunHealth]] = defaultdict(list)
    for run in runs:
        by_name[run.name].append(run)
    for name, mine in by_name.items():
        if len(mine) < SUSPICIOUS:
            continue
        others = [run for run in runs if run.name != name and len(by_name[run.name]) < len(mine)]
        around = [next((other for other in others if _contains(other, run)), None) for run in mine]
        outer = [run for run in around if run is not None]
        if len(outer) < len(mine):
            continue
        most = max(outer.count(run) for run in outer)
        if most >= SUSPICIOUS:
            yield name, {run.name for run in outer}


def _contains(outer: RunHealth, inner: RunHealth) -> bool:
    assert outer.completed_at is not None  # noqa: S101  only runs that have ended are compared
    assert inner.completed_at is not None  # noqa: S101  as above
    return outer.started_at <= inner.started_at and inner.completed_at <= outer.completed_at
