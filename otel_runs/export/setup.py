"""What ``configure()`` has set up: the queues that a process's spans go to, until its end."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.lifecycle import LifecycleProcessor
from otel_runs.export.open_spans import OpenSpans
from otel_runs.export.processor import RunsSpanProcessor, flush_timeout
from otel_runs.export.sampling import record_unsampled
from otel_runs.export.signals import SignalWatch
from otel_runs.export.takeover import Relieved, replace
from otel_runs.export.wanted import Wanted


@runtime_checkable
class Joinable(Protocol):
    """A tracer provider that takes processors: the SDK's, or one that wraps it."""

    def add_span_processor(self, span_processor: Any) -> None:  # a SpanProcessor, by inheritance or by shape
        """Let the processor see every span."""


class Setup:
    """What ``configure()`` has set up. There is one a process."""

    def __init__(
        self,
        provider: trace.TracerProvider,
        processors: tuple[RunsSpanProcessor, ...],
        wanted: Wanted,
        *,
        is_ours: bool = False,
    ) -> None:
        """Hold a provider, which may be ours, and the queues that its spans go to."""
        self.provider = provider
        self.wanted = wanted
        self.is_ours = is_ours
        self.open_spans = OpenSpans()
        self.signals = SignalWatch(self.open_spans, self._export_at_signal)
        self._processors = processors
        for processor in processors:
            processor.guard = self.signals
        self._also_flushed: tuple[SpanProcessor, ...] = ()
        self._joined: list[tuple[Joinable, LifecycleProcessor]] = []
        self._is_shut_down = False

    def extend_to(self, provider: Joinable) -> None:
        """Store the spans of one more provider in the same way."""
        lifecycle = LifecycleProcessor(self.open_spans)
        self._joined.append((provider, lifecycle))
        for processor in (lifecycle, *self._processors):
            provider.add_span_processor(processor)
        if any(getattr(processor.span_exporter, "takes_unsampled", False) for processor in self._processors):
            record_unsampled(provider)

    def also_flush(self, processors: Iterable[SpanProcessor]) -> None:
        """Have ``flush()`` and ``shutdown()`` wait for processors of others, too, which store runs."""
        self._also_flushed += tuple(processors)

    @property
    def is_shut_down(self) -> bool:
        """Whether it stores nothing any more: it was shut down, or a provider that it has joined was."""
        return self._is_shut_down or any(lifecycle.is_shut_down for _, lifecycle in self._joined)

    def reaches(self, provider: object) -> bool:
        """Whether the spans of a provider are stored, as far as it can be joined."""
        return provider is self.provider or any(joined is provider for joined, _ in self._joined)

    @property
    def database(self) -> str | None:
        """Where runs are stored in this process, if they are."""
        exporters = (processor.span_exporter for processor in self._processors)
        urls = (exporter.url for exporter in exporters if isinstance(exporter, RunsSpanExporter))
        return next((os.fspath(url) for url in urls if url is not None), None)

    def leave(self) -> None:
        """Shut down, and let the providers forget this set-up: another one takes its place."""
        if not self._is_shut_down:
            self.shutdown()
        atexit.unregister(self.shutdown)
        for provider, lifecycle in self._joined:
            for processor in (lifecycle, *self._processors):
                replace(provider, processor)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all spans that have ended so far are exported.

        Args:
            timeout: seconds, at most, for all exporters together; without it ``OTEL_RUNS_FLUSH_TIMEOUT``.

        Returns:
            False if the time ran out. Whether everything was stored is in ``otel_runs.stats()``.
        """
        wanted = flush_timeout() if timeout is None else timeout
        deadline = time.monotonic() + min(wanted, threading.TIMEOUT_MAX)
        is_done = True
        for processor in (*self._also_flushed, *self._processors):
            left = max(0.0, deadline - time.monotonic())
            is_done = processor.force_flush(round(left * 1000)) is not False and is_done
        return is_done

    def shutdown(self) -> None:
        """Export what is left within ``OTEL_RUNS_FLUSH_TIMEOUT``, all exporters at once; later spans are not stored.

        Runs by itself at exit. May be called twice.
        """
        self._is_shut_down = True
        self.signals.start_closing()
        try:
            self._close(flush_timeout())
        finally:
            self.signals.stop()

    def _export_at_signal(self, timeout: float) -> None:
        # Closed only if time runs out, which then tells what is left: other threads still end spans until the last.
        if not self.flush(timeout * 0.8):
            self._close(timeout * 0.1)

    def _close(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for other in self._also_flushed:
            if isinstance(other, Relieved):
                other.finish(deadline)
            else:
                other.force_flush(round(max(0.0, deadline - time.monotonic()) * 1000))
        for processor in self._processors:
            processor.start_shutdown()
        for processor in self._processors:
            processor.finish_shutdown(deadline)
