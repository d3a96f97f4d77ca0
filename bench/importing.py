"""How long ``import otel_runs`` takes, against OpenTelemetry's own API, in fresh processes."""

from __future__ import annotations

import subprocess
import sys

from bench.rounds import Line, interleaved

PROGRAM = "from time import perf_counter as now; start = now(); {}; print((now() - start) * 1000)"
API = "import opentelemetry.trace"
OURS = {
    "import otel_runs": "at most 1.2",
    "from otel_runs import run, step, record": "at most 2.0",
}


def lines(*, rounds: int = 15) -> list[Line]:
    """Measure what a pipeline imports. The API comes first in any pipeline, so it is the yardstick."""
    samples = interleaved({name: lambda name=name: _milliseconds(name) for name in [API, *OURS]}, rounds)  # type: ignore[misc]  # a lambda's default cannot be annotated
    found = []
    for name, goal in OURS.items():
        ratio = samples.ratio(name, API)
        mine, theirs = samples.median(name), samples.median(API)
        met = ratio <= float(goal.split()[-1])
        found.append(Line(name, f"{mine:.1f} ms", f"{API}: {theirs:.1f} ms", ratio, goal, met))
    return found


def _milliseconds(statement: str) -> float:
    command = [sys.executable, "-c", PROGRAM.format(statement)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60).stdout)
