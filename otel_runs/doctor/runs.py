"""Runs that never end, and runs whose steps are not all there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from otel_runs import settings
from otel_runs.amounts import many
from otel_runs.doctor.finding import Finding, some
from otel_runs.errors import SettingsError
from otel_runs.query.health import NEWEST, newest_runs, open_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from otel_runs.query.health import RunHealth
    from otel_runs.store.engine import Database

_LONGEST_SECONDS: Final = 1e9
UNHEARD_OF: Final = timedelta(days=1)
"""For how long a run that gives no sign of life may go on before it is told of."""


def findings(database: Database, now: datetime, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with the runs in the tables."""
    still_open = open_runs(database)
    yield from silent(still_open, now, _lost_after(environ))
    yield from never_ended(still_open, now)
    yield from rootless(still_open, now)
    yield from partial(newest_runs(database))


def silent(still_open: list[RunHealth], now: datetime, lost_after: timedelta) -> Iterator[Finding]:
    """Runs whose heartbeats have ceased."""
    found = [run for run in still_open if run.heartbeat_at is not None and now - run.heartbeat_at > lost_after]
    if found:
        yield Finding(
            "silent-runs",
            "warning",
            f"{_many(found)} said to be running, but gave no sign of life for more than "
            f"{lost_after.total_seconds():g} s: {_named(found)}.",
            "Their process was killed, or its machine is gone, or it cannot reach the database.",
            "Have them ended as lost: otel-runs reap. A run that turns out to live is running again with its next sign "
            "of life.",
        )


def never_ended(still_open: list[RunHealth], now: datetime) -> Iterator[Finding]:
    """Runs that give no sign of life at all, and have gone on for very long."""
    old = [run for run in still_open if run.heartbeat_at is None and now - run.started_at > UNHEARD_OF]
    found = [run for run in old if run.root_span_id is not None]
    if found:
        yield Finding(
            "endless-runs",
            "warning",
            f"{_many(found)} running for more than a day, and their programs send no sign of life: {_named(found)}.",
            "Whether they live cannot be told. Most probably their process was killed: a span is sent when it ends.",
            "Have programs set up by otel_runs.configure(), which sends heartbeats. See one of these runs: "
            f"otel-runs show {found[0].id[:8]}",
        )


def rootless(still_open: list[RunHealth], now: datetime) -> Iterator[Finding]:
    """Runs of which there are steps, but not the run itself."""
    found = [
        run
        for run in still_open
        if run.root_span_id is None and run.heartbeat_at is None and now - run.started_at > UNHEARD_OF
    ]
    if found:
        yield Finding(
            "rootless-runs",
            "warning",
            f"Of {_named(found)} there are steps, but the span of the run itself has not arrived in a day.",
            "The span was sampled out or filtered on its way, or its process was killed, or it is not the pipeline's: "
            "a CI system, for instance, had set TRACEPARENT.",
            "Start the pipeline without TRACEPARENT, or look at samplers (OTEL_TRACES_SAMPLER, the Collector's "
            "tail_sampling and filter processors); runs and steps must reach otel-runs unsampled: docs/collector.md",
        )


def partial(newest: list[RunHealth]) -> Iterator[Finding]:
    """Runs that have ended, and whose process saw more steps end than are here."""
    found = [run for run in newest if run.steps_missing]
    if found:
        missing = sum(run.steps_missing or 0 for run in found)
        yield Finding(
            "missing-steps",
            "warning",
            f"{_many(found, 'has', 'have')} ended with {many(missing, 'step that is', 'steps that are')} not here "
            f"(of the newest {NEWEST:,}): {_named(found)}.",
            "Spans were lost on their way, or still wait in a spool or a Collector's queue.",
            "Replay what waits: otel-runs replay. Then see whether the Collector drops (its metric "
            "otelcol_exporter_send_failed_spans) or samples what it sends to otel-runs.",
        )


def _lost_after(environ: Mapping[str, str]) -> timedelta:
    try:
        seconds = settings.value(settings.LOST_AFTER, environ)
    except SettingsError:  # told by environment.py
        seconds = settings.default_of(settings.LOST_AFTER)
    # 0: the server reaps nothing, and more than a lifetime is no timedelta.
    return min(timedelta(seconds=min(seconds, _LONGEST_SECONDS)) or UNHEARD_OF, UNHEARD_OF)


def _many(found: list[RunHealth], one: str = "is", more: str = "are") -> str:
    return many(len(found), f"run {one}", f"runs {more}")


def _named(found: list[RunHealth]) -> str:
    return some([f"{run.name} ({run.id[:8]})" for run in found])
