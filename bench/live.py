"""What live rows cost the pipeline's thread: the same exporter, with and without hearing of open spans."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bench.rounds import Line, interleaved
from otel_runs import RunsSpanExporter
from otel_runs.export.processor import RunsSpanProcessor

LIVE, ENDED_ONLY = "live", "ended only"
MOST_MICROSECONDS = 5.0


class Steps(NamedTuple):
    """How many steps of a run, and how long each lasts."""

    title: str
    number: int
    seconds: float


SHORT = Steps("a step that ends at once", 20_000, 0)
LONG = Steps("a step of 0.3 s", 10, 0.3)


class EndedOnly(SpanExporter):
    """Hands on what has ended, and hides that its exporter would hear of more."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export(spans)

    def shutdown(self) -> None:
        self._exporter.shutdown()


def lines(folder: Path, *, workloads: Sequence[Steps] = (SHORT, LONG), rounds: int = 7) -> list[Line]:
    """Measure both, in processes of their own."""
    numbers = count()

    def contender(name: str, steps: Steps) -> Callable[[], float]:
        return lambda: _process(name, steps, folder / f"live-{next(numbers)}.db")

    found = []
    for steps in workloads:
        samples = interleaved({name: contender(name, steps) for name in (LIVE, ENDED_ONLY)}, rounds)
        more = median(mine - theirs for mine, theirs in zip(samples.of[LIVE], samples.of[ENDED_ONLY], strict=True))
        found.append(
            Line(
                f"live rows: CPU of the pipeline's thread, {steps.title}",
                f"{samples.median(LIVE):.1f} us",
                f"{ENDED_ONLY}: {samples.median(ENDED_ONLY):.1f} us ({more:+.1f})",
                samples.ratio(LIVE, ENDED_ONLY),
                f"at most {MOST_MICROSECONDS:.0f} us more",
                more <= MOST_MICROSECONDS,
            )
        )
    return found


def _process(name: str, steps: Steps, file: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "bench.live", name, str(steps.number), str(steps.seconds), str(file)],
        capture_output=True,
        cwd=Path(__file__).parents[1],
        env={key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    return float(done.stdout)


def microseconds_a_step(name: str, steps: Steps, file: Path) -> float:
    """CPU time of the pipeline's thread for each step of one run, whose row is there before."""
    exporter: SpanExporter = RunsSpanExporter(file)
    processor = RunsSpanProcessor(exporter if name == LIVE else EndedOnly(exporter))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("bench")
    tracer.start_span("before").end()
    assert processor.force_flush(60_000)  # imports and tables are not what is measured
    with tracer.start_as_current_span("run"):
        start = time.thread_time()
        for _ in range(steps.number):
            with tracer.start_as_current_span("step"):
                if steps.seconds:
                    time.sleep(steps.seconds)
        taken = time.thread_time() - start
    processor.shutdown()
    return taken / steps.number * 1e6


if __name__ == "__main__":
    name_, number, seconds, file_ = sys.argv[1:]
    print(microseconds_a_step(name_, Steps("", int(number), float(seconds)), Path(file_)))
