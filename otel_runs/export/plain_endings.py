"""How plain spans end that are left by Ctrl-C, an exit, or a signal's handler: OpenTelemetry says nothing of these."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_runs.attributes import KIND, STATUS
from otel_runs.instrument.endings import Skip, mark_exception
from otel_runs.instrument.interrupts import signal_behind
from otel_runs.instrument.place import attributes_of
from otel_runs.instrument.problems import problem

if TYPE_CHECKING:
    from opentelemetry.context import Context

_NO_ENDING: Final = (GeneratorExit, Skip)
"""A span around the consumer of a generator, or around a step that leaves itself, has not been stopped."""


class PlainEndings(SpanProcessor):
    """Has plain spans say what runs and steps of decorators say: ``cancelled`` after Ctrl-C, ``failed`` after an exit.

    While a ``with`` block is left by an exception, that is the one being handled. One that was handled already when the
    span started (the span tells of the clean-up) has nothing to do with it.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK's signature
        """Have the end of a plain span look at what ends it."""
        if KIND in (attributes_of(span) or ()):  # a decorator's, which knows
            return
        end = span.__dict__.get("end")  # another processor may have had the same idea
        # By a weak reference: a span must not wait for the garbage collector.
        span.end = partial(_end, weakref.ref(span), end, sys.exc_info()[1])  # type: ignore[method-assign]

    def on_end(self, span: ReadableSpan) -> None:
        """Nothing: a span that has ended takes no attribute."""


def _end(
    reference: weakref.ref[Span],
    end: Callable[[int | None], None] | None,
    handled: BaseException | None,
    end_time: int | None = None,
) -> None:
    span = reference()
    if span is None:  # nobody has it who could end it
        return
    exc = sys.exc_info()[1]
    if exc is not None and exc is not handled:
        try:
            _tell(span, exc)
        except Exception as failure:  # noqa: BLE001  telemetry never breaks the pipeline
            problem("end of a plain span", f"{span.name}: its ending could not be recorded: {failure!r}.", failure)
    if end is None:
        type(span).end(span, end_time)
    else:
        end(end_time)


def _tell(span: Span, exc: BaseException) -> None:
    if isinstance(exc, _NO_ENDING) or not span.is_recording() or STATUS in (span.attributes or ()):
        return
    # What is an error OpenTelemetry has told.
    if not isinstance(exc, Exception) or signal_behind(exc) is not None:
        mark_exception(span, exc)
