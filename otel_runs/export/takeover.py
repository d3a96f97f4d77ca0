"""Taking the place of a processor that somebody has put in front of a ``RunsSpanExporter``.

The SDK's processors drop what exceeds their queue, hear nothing of open spans and hand on sampled ones only. Where
``configure()`` joins a provider that has one of them, our queue takes over its exporter.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from otel_runs.children import call_in_child
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.processor import RunsSpanProcessor, flush_timeout

_REPLACEABLE: Final = (BatchSpanProcessor, SimpleSpanProcessor, RunsSpanProcessor)
"""Not their subclasses: such a processor may leave spans out, or change them, for a reason."""


class Relieved(SpanProcessor):
    """In the place of a processor that gets no more spans: exports what that one still holds, and nothing else."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor
        self._is_empty = threading.Event()
        self._is_over = False
        call_in_child(self, Relieved._become_child)

    def start(self) -> None:
        """Export what the processor holds from a thread: the pipeline must not wait for a database that is away."""
        threading.Thread(target=self._empty, name="otel_runs.takeover", daemon=True).start()

    def _empty(self) -> None:
        try:
            self._processor.force_flush()
        finally:
            self._is_empty.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until it holds nothing; False if the time ran out."""
        deadline = time.monotonic() + timeout_millis / 1000
        if not self._is_empty.wait(timeout_millis / 1000):
            return False
        # Once more: a span that was ending in another thread meanwhile. This one has nothing to wait for.
        return self._processor.force_flush(max(1, round((deadline - time.monotonic()) * 1000)))

    def shutdown(self) -> None:
        """Export what it holds, within ``OTEL_RUNS_FLUSH_TIMEOUT``. The queue that has its exporter now closes that."""
        self.finish(time.monotonic() + flush_timeout())

    def finish(self, deadline: float) -> None:
        """Export what it holds until ``deadline`` (of ``time.monotonic()``). A second call does not wait once more."""
        if not self._is_over:
            self._is_over = True
            self.force_flush(round(max(0.0, deadline - time.monotonic()) * 1000))

    def _become_child(self) -> None:
        # What it holds is the parent's; so may be who held the lock inside.
        self._is_empty = threading.Event()
        self._is_empty.set()


def processors_that_store_runs(provider: object) -> list[SpanProcessor]:
    """Those in front of a ``RunsSpanExporter``; the SDK has no public way to ask."""
    active = getattr(provider, "_active_span_processor", None)
    processors: tuple[SpanProcessor, ...] = getattr(active, "_span_processors", ())
    return [each for each in processors if isinstance(exporter_of(each), RunsSpanExporter)]


def exporter_of(processor: object) -> Any:
    """The exporter behind a processor, by the name that the SDK's processors use; None where there is none."""
    return getattr(processor, "span_exporter", None)


def can_be_relieved(processor: SpanProcessor) -> bool:
    """Whether it does nothing but hand spans to its exporter."""
    return type(processor) in _REPLACEABLE


def relieve(provider: object, processor: SpanProcessor) -> Relieved:
    """Give a processor no more spans; its exporter has a queue of ours, which gets them.

    Args:
        provider: to which it was added.
        processor: one that ``can_be_relieved``.

    Returns:
        What stands in its place.
    """
    relieved = Relieved(processor)
    replace(provider, processor, relieved)
    relieved.start()
    return relieved


def replace(provider: object, processor: SpanProcessor, *by: SpanProcessor) -> None:
    """Put others into the place of a processor, between two spans; none: remove it."""
    active: Any = getattr(provider, "_active_span_processor", None)
    if not hasattr(active, "_span_processors"):
        return
    lock: AbstractContextManager[Any] = getattr(active, "_lock", None) or nullcontext()
    with lock:
        active._span_processors = tuple(  # noqa: SLF001  the SDK has no public way
            other
            for each in active._span_processors  # noqa: SLF001  as above
            for other in (by if each is processor else (each,))
        )
