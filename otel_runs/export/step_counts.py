"""How many steps each open run has seen end in this process: what tells later whether some are missing."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_runs.attributes import KIND, PARENT_RUN, RUN_KEY, STEPS_EXPECTED
from otel_runs.ids import row_id_from_span, run_id_from_trace
from otel_runs.instrument.place import attributes_of, may_be_rowless

if TYPE_CHECKING:
    from opentelemetry.context import Context

_NOTHING: Final[dict[str, object]] = {}


class _Run:
    """An open run."""

    __slots__ = ("span_id", "steps")

    def __init__(self, span: Span) -> None:
        self.span_id = span.get_span_context().span_id
        self.steps = 0
        # A span that has ended takes no attribute, and OpenTelemetry has no public hook before that. To tell the number
        # after each step costs six microseconds a step. By a weak reference: a span must not wait for the collector.
        span.end = partial(_end_counted, weakref.ref(span), self)  # type: ignore[method-assign]


def _end_counted(reference: weakref.ref[Span], run: _Run, end_time: int | None = None) -> None:
    span = reference()
    if span is not None:  # whoever ends it, has it
        if run.steps and span.is_recording():
            span.set_attribute(STEPS_EXPECTED, run.steps)
        type(span).end(span, end_time)


class StepCounts(SpanProcessor):
    """Counts the steps of open runs as they end, and says on a run's span, when that ends, how many there were.

    A run with a key is spread over processes, of which none knows the whole: it is not counted. It goes behind the
    processor that stamps.
    """

    def __init__(self) -> None:
        self._start_empty()
        _all.add(self)

    def _start_empty(self) -> None:
        """The state of one that has seen nothing: a new one, or one in a forked child, whose runs are the parent's."""
        self._counting = threading.Lock()
        self._runs: dict[str, _Run] = {}
        """By the run's id."""
        self._run_of: dict[int, str] = {}
        """Open span -> the open run that it is, or is in."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK's signature
        """Know the run that a span is in: the one of its parent, else the one of its stamp."""
        attributes = attributes_of(span) or _NOTHING
        parent, context = span.parent, span.get_span_context()
        run_id: object
        if parent is None or attributes.get(KIND) == "run":
            if PARENT_RUN not in attributes and (RUN_KEY in attributes or RUN_KEY in span.resource.attributes):
                return
            run_id = _run_id(span)
            self._runs[run_id] = _Run(span)
        else:
            run_id = self._run_of.get(parent.span_id) or attributes.get(PARENT_RUN)
        if isinstance(run_id, str) and run_id in self._runs:
            self._run_of[context.span_id] = run_id

    def on_end(self, span: ReadableSpan) -> None:
        """Count the span, if it is a step of an open run."""
        context = span.context
        run_id = None if context is None else self._run_of.pop(context.span_id, None)
        run = None if run_id is None else self._runs.get(run_id)
        if context is None or run_id is None or run is None:
            return
        if run.span_id == context.span_id:
            del self._runs[run_id]
            return
        attributes = attributes_of(span) or _NOTHING
        if attributes.get(KIND) != "run" and not may_be_rowless(span, attributes):
            with self._counting:
                run.steps += 1


def _run_id(span: Span) -> str:
    """The id of the run that a span is."""
    context = span.get_span_context()
    trace_id = f"{context.trace_id:032x}"
    return run_id_from_trace(trace_id) if span.parent is None else row_id_from_span(trace_id, f"{context.span_id:016x}")


_all: weakref.WeakSet[StepCounts] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for counts in list(_all):
        counts._start_empty()  # noqa: SLF001  this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
