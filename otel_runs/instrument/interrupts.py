"""Which signal ended the pipeline's code, read off the exception that unwinds it.

A handler of the pipeline's or a framework's own has the say, so nothing is wrapped and nothing patched: an exception
that a handler raised has the handler's frame in its traceback, and Python calls handlers in one way only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Final

_NAMES: Final = ("SIGTERM", "SIGHUP", "SIGINT")
"""The signals that ask a process to end."""


def signal_behind(exc: BaseException) -> str | None:
    """The name of the signal whose handler raised the exception; None if no handler did."""
    signal = sys.modules.get("signal")
    if signal is None:  # then nobody has set a handler
        return None
    if _is_cancellation_of_runner(exc, signal.getsignal(signal.SIGINT)):
        return "SIGINT"
    numbers = {int(getattr(signal, name)): name for name in _NAMES if hasattr(signal, name)}
    trace = exc.__traceback__
    while trace is not None:
        number = _number_handled_in(trace.tb_frame)
        if number in numbers:
            return numbers[number]
        trace = trace.tb_next
    return None


def _number_handled_in(frame: FrameType) -> int | None:
    """The signal's number, where the frame is a handler's: Python hands it the number and the frame below it."""
    if frame.f_back is None:
        return None
    before: object = None
    for value in _arguments(frame):
        if value is frame.f_back and isinstance(before, int):
            return int(before)
        before = value
    return None


def _arguments(frame: FrameType) -> Iterator[object]:
    """What a frame's function was called with, by position: ``self``, if there is one, and ``*args`` among it."""
    code, values = frame.f_code, frame.f_locals
    for name in code.co_varnames[: code.co_argcount]:
        yield values.get(name)
    if code.co_flags & 0x04:  # inspect.CO_VARARGS; importing inspect takes 10 ms
        rest = values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
        if isinstance(rest, tuple):
            yield from rest


def _is_cancellation_of_runner(exc: BaseException, handler: object) -> bool:
    """Whether ``asyncio.run`` cancelled its main task because of a Ctrl-C; what it raises comes after the task's end.

    Source: asyncio.Runner, which counts interrupts where it handles SIGINT; it has no public way to ask.
    """
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    return type(exc).__name__ == "CancelledError" and getattr(runner, "_interrupt_count", 0) > 0
