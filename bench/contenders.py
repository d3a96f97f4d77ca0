"""One decorated call under one library, in a process of its own: each library sets a global tracer provider.

``python -m bench.contenders NAME CALLS FOLDER`` prints two numbers, microseconds a call: in the pipeline, and until
everything is exported. The calls are steps of runs, as in a pipeline.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

BURST = 500
"""Calls a run. Fewer than the queue of the SDK's batch processor holds, so that nobody is fast by dropping spans."""
WARM_UP = 50


class Contender(NamedTuple):
    """One way to trace a call."""

    call: Callable[[int], object]
    root: Callable[[], AbstractContextManager[object]]
    """Around the calls of one run."""
    flush: Callable[[], object]


def work(value: int) -> int:
    """The function that is traced: as good as nothing."""
    return value


class Dropping(SpanExporter):
    """An exporter that takes everything and keeps nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Drop the spans."""
        return SpanExportResult.SUCCESS


def _dropping_provider() -> TracerProvider:
    return _provider_to(Dropping())


def _provider_to(exporter: SpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def otel_runs_recorded(folder: Path) -> Contender:
    """Our decorator; rows are written to an SQLite file."""
    import otel_runs

    setup = otel_runs.configure(folder / "runs.db")
    return Contender(otel_runs.step(work), lambda: otel_runs.run("bench"), lambda: setup.flush(60))


def otel_runs_unsampled(folder: Path) -> Contender:
    """The same, with a sampler that drops every span."""
    trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF))
    return otel_runs_recorded(folder)


def otel_runs_dropped(folder: Path) -> Contender:
    """Our decorator alone, with the SDK's own processor."""
    import otel_runs

    provider = _dropping_provider()
    return Contender(otel_runs.step(work), lambda: otel_runs.run("bench"), provider.force_flush)


def otel_runs_idle(folder: Path) -> Contender:
    """Our decorator while no tracer provider is set."""
    import otel_runs

    return Contender(otel_runs.step(work), lambda: otel_runs.run("bench"), int)


def plain_idle(folder: Path) -> Contender:
    """``start_as_current_span`` by hand while no tracer provider is set."""
    tracer = trace.get_tracer("bench")

    def call(value: int) -> int:
        with tracer.start_as_current_span("work"):
            return work(value)

    return Contender(call, lambda: tracer.start_as_current_span("bench"), int)


def plain(folder: Path) -> Contender:
    """``start_as_current_span`` by hand, with the attributes that our decorator sets."""
    return _plain_to(Dropping())


def plain_recorded(folder: Path) -> Contender:
    """The same, with our exporter behind the SDK's own processor: rows, but no live ones, no heartbeats, no counts."""
    from otel_runs.export.exporter import RunsSpanExporter

    return _plain_to(RunsSpanExporter(folder / "runs.db"))


def _plain_to(exporter: SpanExporter) -> Contender:
    tracer = _provider_to(exporter).get_tracer("bench")
    attributes = {
        "otel_runs.kind": "step",
        "otel_runs.model.path": "bench.contenders.work",
        "otel_runs.parent.run": "0af76519-16cd-43dd-8448-eb211c80319c",
    }

    def call(value: int) -> int:
        with tracer.start_as_current_span("work", attributes=attributes):
            return work(value)

    return Contender(call, lambda: tracer.start_as_current_span("bench"), _provider().force_flush)


def _provider() -> TracerProvider:
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    return provider


def logfire_bare(folder: Path) -> Contender:
    """Logfire's decorator as one writes it, with an exporter that drops, and nothing printed or sent."""
    return _logfire(extract_args=True)


def logfire_without_arguments(folder: Path) -> Contender:
    """The same, told not to record the function's arguments, as ours does not."""
    return _logfire(extract_args=False)


def _logfire(*, extract_args: bool) -> Contender:
    import logfire  # pyright: ignore[reportMissingImports]  not in the environment that is checked

    logfire.configure(
        send_to_logfire=False,
        console=False,
        inspect_arguments=False,
        additional_span_processors=[BatchSpanProcessor(Dropping())],
    )
    return Contender(
        logfire.instrument(extract_args=extract_args)(work),
        lambda: logfire.span("bench"),
        logfire.force_flush,
    )


def mlflow(folder: Path) -> Contender:
    """MLflow's decorator, which writes to an SQLite file as ours does."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow  # pyright: ignore[reportMissingImports]  as above

    call: Callable[[int], Any] = mlflow.trace(work)
    return Contender(call, lambda: mlflow.start_span("bench"), mlflow.flush_trace_async_logging)


CONTENDERS: dict[str, Callable[[Path], Contender]] = {
    "otel_runs recorded": otel_runs_recorded,
    "otel_runs recorded, not sampled": otel_runs_unsampled,
    "otel_runs dropped": otel_runs_dropped,
    "otel_runs, no provider": otel_runs_idle,
    "plain": plain,
    "plain, the same exporter": plain_recorded,
    "plain, no provider": plain_idle,
    "logfire": logfire_bare,
    "logfire, no arguments": logfire_without_arguments,
    "mlflow": mlflow,
}


def measure(contender: Contender, calls: int) -> tuple[float, float]:
    """Microseconds a call: in the pipeline, and until everything is exported."""
    in_pipeline = 0
    _burst(contender, WARM_UP)
    contender.flush()
    gc.collect()  # of what was loaded for the first spans, once a process; else it comes amid some burst
    start = perf_counter_ns()
    for size in [BURST] * (calls // BURST) or [calls]:
        in_pipeline += _burst(contender, size)
        contender.flush()
    made = (calls // BURST) * BURST or calls
    return in_pipeline / made / 1000, (perf_counter_ns() - start) / made / 1000


def _burst(contender: Contender, calls: int) -> int:
    call = contender.call
    with contender.root():
        start = perf_counter_ns()
        for value in range(calls):
            call(value)
        return perf_counter_ns() - start


if __name__ == "__main__":
    _, name, count, where = sys.argv
    print(*measure(CONTENDERS[name](Path(where)), int(count)))
