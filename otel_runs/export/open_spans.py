"""The spans of this process that have started and not ended, and how many steps each open run has seen end."""

from __future__ import annotations

import weakref
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from otel_runs.attributes import KIND, PARENT_RUN
from otel_runs.children import call_in_child
from otel_runs.ids import row_id_from_span, run_id_from_trace
from otel_runs.instrument.place import attributes_of, key_among, may_be_rowless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan, Span

_NO_ATTRIBUTES: Final[dict[str, Any]] = {}


class OpenRun:
    """A run while it is open, as this process sees it."""

    __slots__ = ("_steps", "id", "span_id")

    def __init__(self, span: Span) -> None:
        self.id = _run_id(span)
        """Of its row."""
        self.span_id = span.get_span_context().span_id
        self._steps = count()

    def count_step(self) -> None:
        """A step of it has ended, a plain span perhaps."""
        # One operation, which the interpreter does not interrupt; a lock around an addition takes 0.1 us a step.
        next(self._steps)

    def steps(self) -> int:
        """How many have been counted; asked once, at its end, as the answer is the count's next number."""
        return next(self._steps)


class _Open(weakref.ref["Span"]):
    """A span that has started. Weak: one that its maker has let go of, without ending it, never ends."""

    __slots__ = ("kind", "run", "span_id")

    span_id: int
    kind: str | None
    """As it said at its start; decorators do, a plain span may say it later."""
    run: OpenRun | None
    """That it is, or is in, as far as that is counted here."""


class OpenSpans:
    """What is open. A run with a key is spread over processes, of which none knows the whole: it is not counted.

    Without a lock: each call is one operation on a dictionary, which the interpreter does not interrupt.
    """

    def __init__(self) -> None:
        self._start_empty()
        call_in_child(self, OpenSpans._start_empty)

    def _start_empty(self) -> None:
        """The state of one that has seen nothing: a new one, or one in a forked child, whose spans are the parent's."""
        self._spans: dict[int, _Open] = {}
        """By span id, in the order in which they started."""
        self._runs: dict[str, OpenRun] = {}

    def add(self, span: Span, attributes: Mapping[str, Any]) -> OpenRun | None:
        """Remember a span that has started, and been stamped.

        Args:
            span: any.
            attributes: of the span.

        Returns:
            The run that it is, if that is counted here.
        """
        opened = _Open(span, self._forget)
        opened.span_id = span_id = span.get_span_context().span_id
        opened.kind = kind = attributes.get(KIND)
        parent = span.parent
        own = None
        if parent is None or kind == "run":
            # Below a run with a key, descendants may carry the key for others to see; their stamp wins.
            if PARENT_RUN in attributes or not (key_among(attributes) or key_among(span.resource.attributes)):
                own = OpenRun(span)
                self._runs[own.id] = own
            opened.run = own
        else:
            opened.run = self._runs.get(attributes.get(PARENT_RUN, "")) or self._run_around(parent.span_id)
        self._spans[span_id] = opened
        return own

    def _run_around(self, span_id: int) -> OpenRun | None:
        around = self._spans.get(span_id)
        return None if around is None else around.run

    def remove(self, span: ReadableSpan) -> None:
        """Forget a span that has ended, and count it if it is a step."""
        opened = None if span.context is None else self._spans.pop(span.context.span_id, None)
        if opened is None:
            return
        run = opened.run
        if run is None:
            return
        if run.span_id == opened.span_id:
            self._runs.pop(run.id, None)
        elif opened.kind is not None or _is_step(span):
            run.count_step()

    def _forget(self, opened: _Open) -> None:
        self._spans.pop(opened.span_id, None)
        if opened.run is not None and opened.run.span_id == opened.span_id:
            self._runs.pop(opened.run.id, None)

    def list_(self) -> list[Span]:
        """The spans that are open now."""
        return [span for span in (each() for each in list(self._spans.values())) if span is not None]


def _is_step(span: ReadableSpan) -> bool:
    """Whether a span that did not say its kind at its start has turned out to be a step."""
    attributes = attributes_of(span) or _NO_ATTRIBUTES
    return attributes.get(KIND) != "run" and not may_be_rowless(span, attributes)


def _run_id(span: Span) -> str:
    """The id of the run that a span is."""
    context = span.get_span_context()
    trace_id = f"{context.trace_id:032x}"
    return run_id_from_trace(trace_id) if span.parent is None else row_id_from_span(trace_id, f"{context.span_id:016x}")
