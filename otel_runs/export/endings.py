"""What spans say right before they end: a run how many steps it has had, a plain span how its code was left.

A span that has ended takes no attribute, and OpenTelemetry has no hook before that (``SpanProcessor._on_ending`` comes
too late). So the span's own ``end`` is replaced, until it is called: what refers to itself waits for the collector.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from otel_runs.attributes import STATUS, STEPS_EXPECTED
from otel_runs.instrument.endings import Skip, mark_exception
from otel_runs.instrument.interrupts import signal_behind
from otel_runs.instrument.place import attributes_of
from otel_runs.instrument.problems import problem

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Span

    from otel_runs.export.open_spans import OpenRun

_NO_ENDING: Final = (GeneratorExit, Skip)
"""A span around the consumer of a generator, or around a step that leaves itself, has not been stopped."""


def hook_end(span: Span, run: OpenRun | None, *, is_plain: bool) -> None:
    """Have a span say at its end what it cannot know itself.

    Args:
        span: has started.
        run: that it is, if its steps are counted.
        is_plain: no decorator made it. It will say what runs and steps of decorators say: ``cancelled`` after Ctrl-C or
            a signal's handler, ``failed`` after an exit. OpenTelemetry says nothing of these.
    """
    # While a ``with`` block is left by an exception, that is the one being handled. One that is handled already now
    # (the span tells of the clean-up) has nothing to do with it.
    handled = sys.exc_info()[1]
    span.end = partial(_end, span, run, handled, is_plain)  # type: ignore[method-assign]  # see above


def _end(
    span: Span,
    run: OpenRun | None,
    handled: BaseException | None,
    is_plain: bool,  # noqa: FBT001  by position, as partial fills it in
    end_time: int | None = None,
) -> None:
    vars(span).pop("end", None)
    exc = sys.exc_info()[1] if is_plain else None
    try:
        if exc is not None and exc is not handled:
            _tell(span, exc)
        if run is not None and (steps := run.steps()) and span.is_recording():
            span.set_attribute(STEPS_EXPECTED, steps)
    except Exception as failure:  # noqa: BLE001  telemetry never breaks the pipeline
        problem("end of a span", f"{span.name}: its ending could not be recorded: {failure!r}.", failure)
    span.end(end_time)


def _tell(span: Span, exc: BaseException) -> None:
    if isinstance(exc, _NO_ENDING) or not span.is_recording() or STATUS in (attributes_of(span) or ()):
        return
    # What is an error OpenTelemetry has told.
    if not isinstance(exc, Exception) or signal_behind(exc) is not None:
        mark_exception(span, exc)
