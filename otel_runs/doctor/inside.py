"""Inside a process that is examined: who makes spans, and what becomes of them. Changes nothing that a program sees."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk

from otel_runs.counters import stats
from otel_runs.doctor.report import VARIABLE, ProviderSeen, Report, write_report
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.processor import RunsSpanProcessor

_NOT_THE_PROGRAM: Final = (f"{os.sep}opentelemetry{os.sep}", f"{os.sep}otel_runs{os.sep}", "<frozen")


def look() -> None:
    """Look from now until the process ends, and leave a report then."""
    folder = os.environ[VARIABLE]
    inspection = _Inspection()
    inspection.begin()
    # Registered first, and so called last: after everything was exported.
    atexit.register(lambda: write_report(folder, inspection.report()))


class _Inspection:
    """What was seen so far."""

    def __init__(self) -> None:
        self._providers: list[tuple[sdk.TracerProvider, str]] = []
        self._refused: list[str] = []
        self._roots: Counter[int] = Counter()
        self._unrecorded: Counter[int] = Counter()
        self._strays: Counter[str] = Counter()
        self._open: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Stand between the program and OpenTelemetry's SDK."""
        make, set_, start = sdk.TracerProvider.__init__, trace.set_tracer_provider, sdk.Tracer.start_span

        @functools.wraps(make)
        def making(provider: sdk.TracerProvider, *args: Any, **kwargs: Any) -> None:
            self._providers.append((provider, _place()))
            make(provider, *args, **kwargs)

        @functools.wraps(set_)
        def setting(tracer_provider: trace.TracerProvider) -> None:
            set_(tracer_provider)
            if trace.get_tracer_provider() is not tracer_provider:
                self._refused.append(_place())

        @functools.wraps(start)
        def starting(tracer: sdk.Tracer, name: str, context: Any = None, *args: Any, **kwargs: Any) -> trace.Span:
            span = start(tracer, name, context, *args, **kwargs)
            if not trace.get_current_span(context).get_span_context().is_valid:
                self._count_root(tracer, name, span)
            return span

        sdk.TracerProvider.__init__ = making  # type: ignore[method-assign,assignment]  # to stand in for it is the point
        trace.set_tracer_provider = setting
        sdk.Tracer.start_span = starting  # type: ignore[method-assign,assignment]  # as above

    def _count_root(self, tracer: sdk.Tracer, name: str, span: trace.Span) -> None:
        whose = id(tracer.span_processor)
        thread = threading.get_ident()
        with self._lock:
            if not span.is_recording():
                self._unrecorded[whose] += 1
                return
            self._roots[whose] += 1
            if any(other != thread and _is_open(root()) for root, other in self._open.values()):
                self._strays[name] += 1
            else:
                # Only what no other root surrounds: a stray does not make further ones.
                self._open = {key: held for key, held in self._open.items() if _is_open(held[0]())}
                self._open[id(span)] = (weakref.ref(span), thread)

    def report(self) -> Report:
        """What the process has done."""
        counted = stats()
        return Report(
            program=Path(sys.argv[0]).name or "python",
            providers=[self._seen(provider, place) for provider, place in self._providers],
            refused=self._refused,
            strays=dict(self._strays),
            lost=counted.spans_failed + counted.spans_dropped,
            last_error=counted.last_error,
        )

    def _seen(self, provider: sdk.TracerProvider, place: str) -> ProviderSeen:
        active = provider._active_span_processor  # noqa: SLF001  the SDK has no public way to ask
        processors = getattr(active, "_span_processors", ())
        stores = any(_stores_runs(processor) for processor in processors)
        return ProviderSeen(place, stores, self._roots[id(active)], self._unrecorded[id(active)])


def _is_open(span: Any) -> bool:
    return span is not None and getattr(span, "end_time", 0) is None


def _stores_runs(processor: object) -> bool:
    exporter = getattr(processor, "span_exporter", None)
    return isinstance(processor, RunsSpanProcessor) or isinstance(exporter, RunsSpanExporter)


def _place() -> str:
    """File and line of the program's code that is running."""
    frame = sys._getframe(1)  # noqa: SLF001  as logging does
    while frame is not None:
        name = frame.f_code.co_filename
        if not any(part in name for part in _NOT_THE_PROGRAM):
            return f"{name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "opentelemetry's own set-up"
