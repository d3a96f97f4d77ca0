"""Runs as a reaper meets them: heard of now, long ago or in the future, by processes that live or have ended."""

from __future__ import annotations

import time
from typing import Any

from otel_runs import attributes as key
from otel_runs.ingest import Ingest
from otel_runs.process import process_identity
from otel_runs.spans.span import NO_ATTRIBUTES
from otel_runs.store.engine import Database
from tests.ingest.stored import stored_run
from tests.ingest.traces import run_id, span

SECOND = 1_000_000_000


def beat(
    database: Database, *, ago: float = 0, trace: int = 0, process: str | None = None, number: int = 0, **parts: Any
) -> int:
    """Let a run be heard of, so many seconds ago by its own clock; the time of the heartbeat in nanoseconds."""
    at = time.time_ns() - int(ago * SECOND)
    said = {} if process is None else {key.PROCESS: process}
    attributes = {**parts.pop("attributes", NO_ATTRIBUTES), **said}
    opened = span(number, trace=trace, open_=True, attributes=attributes, **parts)
    Ingest(database).save([opened._replace(heartbeat_ns=at)])
    return at


def end(database: Database, trace: int = 0) -> None:
    """Let a run end well."""
    Ingest(database).save([span(0, trace=trace)])


def status(database: Database, trace: int = 0) -> tuple[str, str | None]:
    """Status and stop reason of a run."""
    run = stored_run(database, run_id(trace))
    return run["status"], run["stop_reason"]


RUNNING = ("running", None)
LOST = ("failed", "lost")

ELSEWHERE = "another boot:1:7:99"
"""A process of another machine."""


def dead_process() -> str:
    """An identity of this machine whose process is another one by now."""
    boot, namespace, pid, started = (process_identity() or "").split(":")
    return f"{boot}:{namespace}:{pid}:{int(started) - 1}"
