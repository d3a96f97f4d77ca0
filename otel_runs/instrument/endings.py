"""How a span ends, by what was raised: one function an ending.

============================  =========  ==================  =====
what was raised               status     stop reason         error
============================  =========  ==================  =====
anything, by the handler of   cancelled  signal:SIGTERM      no
a signal (SIGTERM, SIGHUP,
SIGINT)
nothing, ``SystemExit(0)``    success    (completed)         no
``skip("unchanged")``         skipped    unchanged           no
``TimeoutError``              failed     timeout             yes
any other ``Exception``       failed     error               yes
``SystemExit(3)``             failed     exit:3              yes
``SystemExit("no input")``    failed     exit:1              yes
``KeyboardInterrupt``         cancelled  signal:SIGINT       no
``asyncio.CancelledError``    cancelled  cancelled           no
``GeneratorExit``             cancelled  closed              no
============================  =========  ==================  =====

Success is what a span says that says nothing, so it carries no attributes. The span's own status is ERROR for what
failed and stays unset for the rest: the API keeps it for errors.

A generator that its consumer closes (or drops) early did not come to its end, and nothing went wrong: that is neither
success nor failure, so ``cancelled``. A run whose generator was closed still completes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.trace import StatusCode

from otel_runs.attributes import ERROR_TYPE, STATUS, STOP_REASON
from otel_runs.instrument.interrupts import signal_behind

if TYPE_CHECKING:
    from opentelemetry.trace import Span

CLOSED: Final = "closed"
_SIGNAL: Final = "signal:"
"""How the stop reason begins of what a signal ended."""
UNFINISHED: Final = "unfinished"
"""Stop reason of a generator that was still open when the process ended."""

_CANCELLATIONS: Final = frozenset({"asyncio.exceptions.CancelledError", "trio.Cancelled", "greenlet.GreenletExit"})
"""By name: none of these modules need be loaded here, and asyncio alone takes 30 ms."""


class Skip(BaseException):
    """Raised by ``otel_runs.skip``, taken by the innermost step.

    Not an ``Exception``: it is no error, and an ``except Exception`` of the pipeline's must not swallow it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ending(NamedTuple):
    """What a span says about its end."""

    status: str
    stop_reason: str
    is_error: bool = False


SUCCESS: Final = Ending("success", "completed")


def ending_of(exc: BaseException) -> Ending:
    """The ending that an exception means."""
    name = None if isinstance(exc, (Skip, GeneratorExit)) else signal_behind(exc)
    if name is not None:
        return interrupted_by(name)
    if isinstance(exc, BaseExceptionGroup) and not isinstance(exc, Exception):
        return _of_group(exc)
    for type_, ending in _ENDINGS:
        if isinstance(exc, type_):
            return ending(exc)
    return _cancelled(exc) if _names(exc) & _CANCELLATIONS else _failed(exc)


def mark_exception(span: Span, exc: BaseException) -> None:
    """Let a span say how it ended, from the exception that ended it."""
    ending = ending_of(exc)
    if ending.is_error:
        span.set_attributes({STATUS: ending.status, STOP_REASON: ending.stop_reason, ERROR_TYPE: _type_name(type(exc))})
        span.record_exception(exc)
        span.set_status(StatusCode.ERROR, f"{type(exc).__name__}: {exc}")
    elif ending is not SUCCESS:
        mark(span, ending)


def mark(span: Span, ending: Ending) -> None:
    """Let a span say how it ended, where nothing failed."""
    span.set_attributes({STATUS: ending.status, STOP_REASON: ending.stop_reason})


def interrupted_by(signal_name: str) -> Ending:
    """A signal asked the process to end."""
    return Ending("cancelled", f"{_SIGNAL}{signal_name}")


def skipped(reason: str) -> Ending:
    """There was nothing to do."""
    return Ending("skipped", reason)


def _skip(exc: BaseException) -> Ending:
    return skipped(str(exc))


def _timed_out(_exc: BaseException) -> Ending:
    return Ending("failed", "timeout", is_error=True)


def _failed(_exc: BaseException) -> Ending:
    return Ending("failed", "error", is_error=True)


def _exited(exc: BaseException) -> Ending:
    code = exc.code if isinstance(exc, SystemExit) else None
    if code is None or code == 0:
        return SUCCESS
    # A text is printed, and the process ends with 1 (docs.python.org, sys.exit).
    return Ending("failed", f"exit:{int(code) if isinstance(code, int) else 1}", is_error=True)


def _interrupted(_exc: BaseException) -> Ending:
    return interrupted_by("SIGINT")


def _cancelled(_exc: BaseException) -> Ending:
    return Ending("cancelled", "cancelled")


def _closed(_exc: BaseException) -> Ending:
    return Ending("cancelled", CLOSED)


_ENDINGS: Final[tuple[tuple[type[BaseException], Callable[[BaseException], Ending]], ...]] = (
    (Skip, _skip),
    (TimeoutError, _timed_out),
    (Exception, _failed),
    (SystemExit, _exited),
    (KeyboardInterrupt, _interrupted),
    (GeneratorExit, _closed),
)
"""The first that fits."""


def _of_group(group: BaseExceptionGroup[BaseException]) -> Ending:
    """Of a Ctrl-C that came in a group, as trio raises it: a cancellation, if that is all there is in the group."""
    endings = [ending_of(exc) for exc in group.exceptions]
    if any(ending.status != "cancelled" for ending in endings):
        return _failed(group)
    # The others were cancelled because of the signal.
    return next((ending for ending in endings if ending.stop_reason.startswith(_SIGNAL)), endings[0])


def _names(exc: BaseException) -> set[str]:
    return {_type_name(type_) for type_ in type(exc).__mro__}


def _type_name(type_: type) -> str:
    module = type_.__module__
    return type_.__qualname__ if module == "builtins" else f"{module}.{type_.__qualname__}"
