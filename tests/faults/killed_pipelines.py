"""Pipelines that are killed at random moments. A program, for test_kills.py; its arguments: a database's URL, a number.

One process loads everything and forks the pipelines, so that each costs milliseconds instead of a start of Python. It
has used nothing of what it has loaded: each pipeline sets itself up, as a process of its own does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from typing import NamedTuple

import psycopg  # noqa: F401  loaded for the pipelines
from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id

import otel_runs
import otel_runs.export.setup
import otel_runs.ingest.splitting
import otel_runs.store.engine
import otel_runs.store.migrations

STEPS = 20
AT_ONCE = 4
"""Pipelines that run beside each other."""


class Killed(NamedTuple):
    """A pipeline after its death."""

    said: list[str]
    """``run <trace id>``, ``step <span id>`` once it is confirmed, ``ending``, ``ended``."""
    seconds: float
    """That it lived."""


def pipeline(url: str, told: int) -> None:
    """Run a few steps; say of a step that it is stored once that was confirmed, every other time for two at once."""

    def say(*words: str) -> None:
        os.write(told, (" ".join(words) + "\n").encode())

    setup = otel_runs.configure(url)
    tracer = trace.get_tracer("pipeline")
    with tracer.start_as_current_span("run") as run:
        say("run", format_trace_id(run.get_span_context().trace_id))
        finished = []
        for number in range(STEPS):
            with tracer.start_as_current_span(f"step {number}") as step:
                pass
            finished.append(format_span_id(step.get_span_context().span_id))
            if number % 3 and setup.flush() and otel_runs.stats().spans_stored >= number + 1:
                say(*(f"step {span_id}\n" for span_id in finished))
                finished = []
        say("ending")
    setup.shutdown()
    if otel_runs.stats().spans_stored == STEPS + 1:
        say("ended")


def run_some(url: str, moments: list[float]) -> list[Killed]:
    """Run pipelines beside each other and kill each at its moment, in seconds from now; infinity: let it end."""
    started = time.monotonic()
    pipelines = []
    for moment in sorted(moments):
        hear, told = os.pipe()
        process = os.fork()
        if process == 0:
            try:
                pipeline(url, told)
            except BaseException:  # noqa: BLE001  a defect must be seen, and the fork must not run on as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(told)
        pipelines.append((process, hear, moment))
    return [end(process, hear, moment, started) for process, hear, moment in pipelines]


def end(process: int, hear: int, moment: float, started: float) -> Killed:
    """Kill a pipeline at its moment and read what it had said."""
    if moment != float("inf"):
        time.sleep(max(0.0, started + moment - time.monotonic()))
        os.kill(process, signal.SIGKILL)
    with os.fdopen(hear, encoding="ascii") as words:
        said = [line.strip() for line in words if line.endswith("\n") and line.strip()]
    os.waitpid(process, 0)
    return Killed(said, time.monotonic() - started)


def main(url: str, kills: int) -> None:
    """Kill so many pipelines, at moments spread over the time that a whole one takes, and print what they had said."""
    unharmed = [float("inf")] * AT_ONCE
    run_some(url, unharmed)  # makes the tables
    longest = max(whole.seconds for whole in run_some(url, unharmed))
    killed: list[Killed] = []
    while len(killed) < kills:
        count = min(AT_ONCE, kills - len(killed))
        killed += run_some(url, [random.uniform(0, 1.05 * longest) for _ in range(count)])
    json.dump([one._asdict() for one in killed], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
