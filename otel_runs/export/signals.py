"""SIGTERM and SIGHUP, where the pipeline leaves them to their default: the process still dies of them, and says so.

A Python handler runs in the main thread between two of its instructions, while that thread may hold any lock: a span's,
a queue's, one of logging. So the handler takes none. Another thread does the work, and the main thread waits for it in
slices: between them it goes on for a moment, so that it lets go of what the work may be waiting for.

A signal that comes between Python's last look for one and a system call does not interrupt that call: a sleep would be
slept to its end. It is so for every handler in Python. The first signal may meet such a moment, rarely, and is then
heard after the call; the way out, ``signal.set_wakeup_fd``, belongs to the program (trio warns where it is taken).

A worker (of a pool, or any forked process) that waits for work waits in such a call, right after its result has reached
those who may end it by SIGTERM and then wait for its death: ``multiprocessing.Pool`` does so, without a bound. So there
signals are watched only while a span is open, or has not been exported.

Handlers of others are left alone, those set earlier and those set later; ``instrument/interrupts.py`` knows their
exceptions. An ignored signal (nohup) stays ignored.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from otel_runs import attributes, settings
from otel_runs.children import call_in_child
from otel_runs.export.open_spans import OpenSpans
from otel_runs.export.workers import is_worker
from otel_runs.instrument.endings import interrupted_by

logger = logging.getLogger(__name__)

_NAMES: Final = ("SIGTERM", "SIGHUP", "SIGINT")
"""Python handles SIGINT itself, by KeyboardInterrupt; its default is there only where somebody has set it so."""
_FIRST_SLICE: Final = 0.02
"""Seconds that the main thread stands still at a time; each slice is twice the one before, up to the longest."""
_LONGEST_SLICE: Final = 0.5
_MOMENT: Final = 0.005
"""Seconds that it goes on between two slices."""
_RECALL_SECONDS: Final = 0.05
"""How long it may take to come back, before it is called again."""
_ECHO_SECONDS: Final = 1.0
"""For so long the same signal is the same wish: ``timeout`` sends it to the process and to its group, a service manager
to ``otel-runs exec``, which passes it on, and to the program."""
_FIRST_PROCESS: Final = 1
"""The process id of a container's program. The kernel keeps from it what it has no handler for, also its own kill."""


class SignalWatch:
    """Ends the open spans of this process when a signal ends it."""

    def __init__(self, open_spans: OpenSpans, export: Callable[[float], object]) -> None:
        """Prepare; nothing is watched yet.

        Args:
            open_spans: what is to be ended.
            export: exports what has ended, within so many seconds.
        """
        self._open_spans = open_spans
        self._export = export
        self._timeout = 0.0
        """Of this process's end by a signal, in seconds; 0: none is watched."""
        self._holders: set[object] = set()
        """Who has something to lose, in a worker."""
        self._is_watching = False
        self._is_closing = False
        self._is_over = False
        self._pending: int | None = None
        self._pid = 0
        """The process that is ending by a signal: a forked child has another id."""
        self._done = _thread.allocate_lock()
        self._deadline = 0.0
        self._slice = _FIRST_SLICE
        self._number = 0
        self._came_at = 0.0
        self._call: object = None
        """What the main thread has not heard yet."""
        self._calls_end = 0.0
        call_in_child(self, SignalWatch._become_child)

    def start(self) -> None:
        """Watch the signals that would end this process by default, and are not waited for by its own code.

        Only in the main thread: Python has it that way. Elsewhere nothing happens, and the signals do what they did.
        In a worker, only from now on while somebody has something to lose.
        """
        if _is_main_thread():
            self._timeout = _signal_timeout()
            if not is_worker():
                self._watch()

    def hold(self, holder: object) -> None:
        """Watch the signals of a worker: who says so has something to lose.

        Said of each span: another thread, which cannot watch them, may have been the first.
        """
        self._holders.add(holder)
        if not (self._is_watching or self._is_over):
            self._watch()

    def release(self, holder: object) -> None:
        """Let the signals of a worker do what they did, if nobody else has something to lose."""
        self._holders.discard(holder)
        # What a signal has ended may still be on its way, and the main thread is called by the same signal meanwhile.
        if not self._holders and self._pid != os.getpid():
            self._let_go()

    def _become_child(self) -> None:
        self._holders = set()
        self._let_go()

    def _watch(self) -> None:
        if self._timeout == 0 or not _is_main_thread():
            return
        self._is_watching = True
        # A process that blocks a signal waits for it itself, as ``otel-runs exec`` does.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else set()
        for number in _ending_signals():
            if signal.getsignal(number) is signal.SIG_DFL and number not in blocked:
                try:
                    signal.signal(number, self._handle)
                except ValueError:  # an interpreter beside the main one
                    return

    def start_closing(self) -> None:
        """From now on a signal waits for the end of the set-up, which exports what is left by itself."""
        if self._pid == os.getpid():
            # It came before, and the pipeline has reached its end in the moments that it has between two slices.
            self._pending = self._number
        self._is_closing = True

    def stop(self) -> None:
        """Give the signals back their default, and die of the one that came since ``start_closing``."""
        self._is_over = True
        _keep_exit_code_of_ctrl_c()
        self._let_go()
        if self._pending is not None:
            os.kill(os.getpid(), self._pending)

    def _let_go(self) -> None:
        if self._is_watching and _is_main_thread():
            self._is_watching = False
            for number in _ending_signals():
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, signal.SIG_DFL)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._is_closing:
            if self._pid == os.getpid() and self._is_recall(number):
                self._call = None
                return
            if self._is_over or (self._pending is not None and not self._is_echo(number)):
                _die_of(number)
            if self._pending is None:
                self._hear(number)
            self._pending = number
            return
        try:
            if self._pid != os.getpid():
                self._begin(number)
            elif not self._is_recall(number):
                if self._is_echo(number):
                    return
                _die_of(number)  # it was asked twice
            self._call = None
            left = self._deadline - time.monotonic()
            if left <= 0 or self._done.acquire(timeout=min(self._slice, left)):
                _die_of(number)
            self._slice = min(self._slice * 2, _LONGEST_SLICE)
            _thread.start_new_thread(self._recall, (number, _thread.get_ident()))
        except RuntimeError:  # no thread can be started
            _die_of(number)

    def _is_recall(self, number: int) -> bool:
        # One that was sent again just when the first had been heard is none that asks twice.
        return number == self._number and (self._call is not None or time.monotonic() < self._calls_end)

    def _is_echo(self, number: int) -> bool:
        return number == self._number and time.monotonic() < self._came_at + _ECHO_SECONDS

    def _hear(self, number: int) -> None:
        self._number, self._came_at = number, time.monotonic()

    def _begin(self, number: int) -> None:
        self._pid = os.getpid()
        self._hear(number)
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._deadline = time.monotonic() + self._timeout
        self._slice = _FIRST_SLICE
        # Not threading.Thread: the interrupted code may hold the lock that it takes.
        _thread.start_new_thread(self._end, (number,))

    def _end(self, number: int) -> None:
        """End all open spans and export them. In a thread of its own."""
        # What this process still does to spans that have ended, in the moments that it has left, is no mistake.
        logging.getLogger("opentelemetry.sdk.trace").disabled = True
        name = signal.Signals(number).name
        ending = interrupted_by(name)
        told = {
            attributes.STATUS: ending.status,
            attributes.STOP_REASON: ending.stop_reason,
            attributes.STATUS_SOURCE: "signal",
        }
        try:
            for span in reversed(self._open_spans.list_()):  # the innermost first
                span.set_attributes(told)
                span.end()
            self._export(max(0.0, self._deadline - time.monotonic()))
        except Exception:
            logger.exception("What was open when %s came could not be stored.", name)
        finally:
            self._done.release()

    def _recall(self, number: int, main_thread: int) -> None:
        """Have the main thread stand still again.

        Sent until it is heard, for it may come just before a system call.
        """
        time.sleep(_MOMENT)
        call = self._call = object()
        while self._call is call:
            self._calls_end = time.monotonic() + 2 * _RECALL_SECONDS
            signal.pthread_kill(main_thread, number)
            time.sleep(_RECALL_SECONDS)


def _keep_exit_code_of_ctrl_c() -> None:
    """Let a process that an uncaught KeyboardInterrupt ends still die of SIGINT.

    Python remembers the interrupt until the next text is evaluated (``exec``, ``eval``), and what is imported or
    written at the exit does that: the exit code would be 1, and a shell's loop would go on. So it is told again.

    Source: CPython, Python/pythonrun.c, run_eval_code_obj: ``unhandled_keyboard_interrupt``.
    """
    if getattr(sys, "last_type", None) is KeyboardInterrupt and not hasattr(sys, "ps1"):
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102  a text of ours


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _signal_timeout() -> float:
    """Seconds that a signal may take to end the process, at most; a bad setting is logged and the default taken."""
    return settings.value_or_default(settings.SIGNAL_TIMEOUT)


def _ending_signals() -> list[int]:
    """The signals that end this process where it has no handler for them."""
    if not hasattr(signal, "pthread_kill"):  # Windows has no signals, but a console's
        return []
    # A container's program is expected to end by SIGTERM, though without a handler it would not.
    names = ("SIGTERM",) if os.getpid() == _FIRST_PROCESS else _NAMES
    return [int(getattr(signal, name)) for name in names]


def _die_of(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    if os.getpid() == _FIRST_PROCESS:
        os._exit(128 + number)
