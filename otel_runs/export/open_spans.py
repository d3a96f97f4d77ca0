"""The spans of this process that have started and not ended, and how many steps each open run has seen end."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from otel_runs.attributes import KIND, PARENT_RUN, RUN_KEY
from otel_runs.children import call_in_child
from otel_runs.ids import row_id_from_span, run_id_from_trace
from otel_runs.instrument.place import attributes_of, may_be_rowless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan, Span

_NO_ATTRIBUTES: Final[dict[str, Any]] = {}


class OpenRun:
    """A run while it is open, as this process sees it."""

    __slots__ = ("id", "span_id", "steps")

    def __init__(self, span: Span) -> None:
        self.id = _run_id(span)
        """Of its row."""
        self.span_id = span.get_span_context().span_id
        self.steps = 0
        """That have ended, plain spans among them."""


class _Open(weakref.ref["Span"]):
    """A span that has started. Weak: one that its maker has let go of, without ending it, never ends."""

    __slots__ = ("run", "span_id")

    span_id: int
    run: OpenRun | None
    """That it is, or is in, as far as that is counted here."""


class OpenSpans:
    """What is open. A run with a key is spread over processes, of which none knows the whole: it is not counted.

    Without a lock but for the addition: each other call is one operation on a dictionary, which the interpreter does
    not interrupt.
    """

    def __init__(self) -> None:
        self._start_empty()
        call_in_child(self, OpenSpans._start_empty)

    def _start_empty(self) -> None:
        """The state of one that has seen nothing: a new one, or one in a forked child, whose spans are the parent's."""
        self._spans: dict[int, _Open] = {}
        """By span id, in the order in which they started."""
        self._runs: dict[str, OpenRun] = {}
        self._counting = threading.Lock()

    def add(self, span: Span, attributes: Mapping[str, Any]) -> OpenRun | None:
        """Remember a span that has started, and been stamped.

        Args:
            span: any.
            attributes: of the span.

        Returns:
            The run that it is, if that is counted here.
        """
        opened = _Open(span, self._forget)
        opened.span_id = span.get_span_context().span_id
        parent = span.parent
        own = None
        if parent is None or attributes.get(KIND) == "run":
            # Below a run with a key, descendants may carry the key for others to see; their stamp wins.
            if PARENT_RUN in attributes or not (RUN_KEY in attributes or RUN_KEY in span.resource.attributes):
                own = OpenRun(span)
                self._runs[own.id] = own
            opened.run = own
        else:
            around = self._spans.get(parent.span_id)
            opened.run = (around and around.run) or self._runs.get(attributes.get(PARENT_RUN, ""))
        self._spans[opened.span_id] = opened
        return own

    def remove(self, span: ReadableSpan) -> None:
        """Forget a span that has ended, and count it if it is a step."""
        opened = None if span.context is None else self._spans.get(span.context.span_id)
        if opened is None:
            return
        self._forget(opened)
        run = opened.run
        if run is None or run.span_id == opened.span_id:
            return
        attributes = attributes_of(span) or _NO_ATTRIBUTES
        kind = attributes.get(KIND)
        if kind == "run" or (kind is None and may_be_rowless(span, attributes)):
            return
        with self._counting:
            run.steps += 1

    def _forget(self, opened: _Open) -> None:
        self._spans.pop(opened.span_id, None)
        if opened.run is not None and opened.run.span_id == opened.span_id:
            self._runs.pop(opened.run.id, None)

    def list_(self) -> list[Span]:
        """The spans that are open now."""
        return [span for span in (each() for each in list(self._spans.values())) if span is not None]


def _run_id(span: Span) -> str:
    """The id of the run that a span is."""
    context = span.get_span_context()
    trace_id = f"{context.trace_id:032x}"
    return run_id_from_trace(trace_id) if span.parent is None else row_id_from_span(trace_id, f"{context.span_id:016x}")
