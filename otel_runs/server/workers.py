"""Processes that write: a Python process uses one core, and reading and mapping spans takes more than the disk does."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Final

from otel_runs.errors import OtelRunsError, SettingsError, StoreUnavailableError
from otel_runs.garbage import look_seldom
from otel_runs.receiver.heap import keep_little
from otel_runs.receiver.request import Request
from otel_runs.receiver.storing import Result, Storing
from otel_runs.server.log import start_log
from otel_runs.server.options import Options
from otel_runs.server.run_store import RunStore

logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
"""A terminal and systemd send them to all processes of a group; only the server itself decides when the others end."""

_CLOSE_SECONDS: Final = 2.0
"""For processes that have nothing to do to end; the others had the server's time to stop."""
_THREADS: Final = Path("/proc/self/task")
"""On Linux: the threads of this process, also those that are not Python's."""


class Workers:
    """Processes that store batches of requests, one each at a time. Safe from several threads.

    Made before the process has threads, they share its memory (``_context``).

    Args:
        options: of the server; ``workers`` is the number of processes.

    Raises:
        SettingsError: this platform has no locks that a killed process lets go.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        try:
            from otel_runs.server.turns import Turns
        except ImportError as exc:
            msg = f"--workers is {options.workers}; on this platform expected 1, because it has no {exc.name}"
            raise SettingsError(msg) from exc
        self._turns_file = tempfile.NamedTemporaryFile(prefix="otel-runs-turns-")  # noqa: SIM115  closed by close()
        self.turns: Final = Turns(self._turns_file.name)
        self._replacing = threading.Lock()
        self._is_closed = False
        self._pool = self._new_pool()

    def await_ready(self) -> None:
        """Wait until a process can work: its imports take half a second.

        Raises:
            SettingsError: none can.
        """
        try:
            self._pool.submit(os.getpid).result()
        except BrokenProcessPool as exc:
            msg = f"--workers is {self._options.workers}, and a worker process ended before it could work; see the log"
            raise SettingsError(msg) from exc

    def store(self, requests: Sequence[Request]) -> list[Result]:
        """As ``Storing.store``, in a free process.

        Raises:
            StoreUnavailableError: the process ended on the way. What it has committed stays; sending again is right.
        """
        pool = self._pool
        try:
            return pool.submit(_store, requests).result()
        except BrokenProcessPool as exc:
            self._replace(pool)
            msg = "a worker process of the server ended before it was done"
            raise StoreUnavailableError(msg) from exc

    def close(self) -> None:
        """End the processes; those that are in the middle of something, which has had its time, at once."""
        with self._replacing:
            self._is_closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + _CLOSE_SECONDS
        for process in multiprocessing.active_children():
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join(_CLOSE_SECONDS)
        self._turns_file.close()

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        """A pool of which one process has ended takes no more work, and ends the others."""
        with self._replacing:
            if self._pool is broken and not self._is_closed:
                logger.error("A worker process ended unexpectedly (killed, or out of memory?); starting new ones.")
                self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(self._options.workers, _context(), _start, (self._options, self.turns.path))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # is inherited, until _start is ready for them
        try:
            for _ in range(self._options.workers):
                pool.submit(os.getpid)  # start now, not with the first request
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pool


def _context() -> BaseContext:
    """How processes are started: forked, if that is safe.

    A forked one shares what is loaded with its parent, page by page until one of them changes it: the proportional sets
    of the server and two workers add up to 130 MB instead of 185. But threads do not come along, and the locks that
    they hold stay taken, so who has any starts processes from scratch.
    """
    is_alone = _THREADS.is_dir() and len(list(_THREADS.iterdir())) == 1
    if is_alone:
        gc.freeze()  # each look for garbage writes into all objects that it sees, and a page so changed is not shared
    return multiprocessing.get_context("fork" if is_alone else "spawn")


# In a worker's process.

_storing: Storing | None = None


def _start(options: Options, turns_path: str) -> None:
    """Get ready to store, once a process."""
    global _storing  # noqa: PLW0603  a process of a pool keeps what it needs for every task here
    from otel_runs.server.turns import Turns

    keep_little()  # again, where it was not forked
    start_log()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with_parent, name="otel_runs parent", daemon=True).start()
    store = RunStore(options.database, Turns(turns_path))  # opened here: a fork's copy would be the parent's own lock
    look_seldom()
    _storing = Storing(store.save, options.limits, options.most_bytes)


def _store(requests: Sequence[Request]) -> list[Result]:
    assert _storing is not None  # noqa: S101  the pool has called _start
    return [_portable(result) for result in _storing.store(requests)]


def _portable(result: Result) -> Result:
    """The result, without what an error of a driver may refer to: that need not fit through a pipe."""
    if isinstance(result, Exception):
        if not isinstance(result, OtelRunsError):
            logger.error("A request failed; this is a defect.", exc_info=result)
        result.__cause__ = result.__context__ = None
        return result.with_traceback(None)
    return result


_KILLED: Final = 1


def _end_with_parent() -> None:
    """A server that was killed leaves no processes behind: nobody would ever give them work."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  a worker has one
    parent.join()
    os._exit(_KILLED)
