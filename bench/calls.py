"""What a decorated call costs the pipeline, against the same call under other libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path

from bench.contenders import CONTENDERS
from bench.rounds import Line, Samples, interleaved

OURS, PLAIN = "otel_runs recorded", "plain"
NOT_SAMPLED = "otel_runs recorded, not sampled"
IDLE, PLAIN_IDLE = "otel_runs, no provider", "plain, no provider"
GOALS = {PLAIN: 1.0, "plain, the same exporter": 1.0, "logfire": 0.3, "logfire, no arguments": 0.5, "mlflow": 0.1}
NEEDS = {"logfire": "logfire", "logfire, no arguments": "logfire", "mlflow": "mlflow"}
"""Contender -> the module that must be installed."""
CALLS = {"mlflow": 500}
"""Fewer calls where one is slow."""


def lines(folder: Path, *, calls: int = 10_000, rounds: int = 7) -> list[Line]:
    """Measure all libraries that are installed."""
    names = [name for name in CONTENDERS if name not in NEEDS or find_spec(NEEDS[name])]
    in_pipeline, exported = _samples(folder, names, calls, rounds)
    found = [
        _line("a decorated call, rows recorded", OURS, name, in_pipeline, goal)
        for name, goal in GOALS.items()
        if name in names
    ]
    found.append(_line("the same, not sampled", NOT_SAMPLED, OURS, in_pipeline, 1.2))
    found.append(_line("the same, exporter dropped", "otel_runs dropped", PLAIN, in_pipeline, GOALS[PLAIN]))
    found.append(_line("the same, no provider set", IDLE, PLAIN_IDLE, in_pipeline, 0.5))
    if "mlflow" in names:
        found.append(_line("the same, until it is written", OURS, "mlflow", exported, GOALS["mlflow"]))
    return found


def _samples(folder: Path, names: list[str], calls: int, rounds: int) -> tuple[Samples, Samples]:
    until_written: dict[str, list[float]] = {name: [] for name in names}
    numbers = count()

    def contender(name: str) -> Callable[[], float]:
        def round_() -> float:
            own = folder / f"call-{next(numbers)}"
            own.mkdir()
            here, written = _process(name, min(calls, CALLS.get(name, calls)), own)
            until_written[name].append(written)
            return here

        return round_

    in_pipeline = interleaved({name: contender(name) for name in names}, rounds)
    return in_pipeline, Samples(until_written)


def _process(name: str, calls: int, folder: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.contenders", name, str(calls), str(folder)],
        capture_output=True,
        cwd=Path(__file__).parents[1],
        env=_without_settings(os.environ),
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    here, written = done.stdout.split()[-2:]
    return float(here), float(written)


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if not key.startswith(("OTEL_", "LOGFIRE_", "MLFLOW_"))}


def _line(question: str, ours: str, other: str, samples: Samples, goal: float) -> Line:
    ratio = samples.ratio(ours, other)
    return Line(
        question,
        f"{samples.median(ours):.1f} us",
        f"{other}: {samples.median(other):.1f} us",
        ratio,
        f"at most {goal}",
        ratio <= goal,
    )
