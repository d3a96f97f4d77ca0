"""No connection of ours is open while the process forks.

Neither SQLite nor a PostgreSQL session survives in two processes. SQLite is the worse: it keeps its file locks in the
process's memory, so that a child believes in locks which it does not have, even on connections of its own; when the
parent then closes, it removes the write-ahead log under the child. So before a fork running transactions are awaited
and idle connections closed, and both processes open new ones when they need them.

Source: https://www.sqlite.org/howtocorrupt.html, section 2.6.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakSet

_PATIENCE_SECONDS: Final = 2.0
"""How long a fork waits, at most, for a running transaction: the pipeline's fork must not hang on us."""


class ForkGate:
    """Lets transactions pass, and stands closed while the process forks.

    Args:
        close_idle: closes the connections that no transaction uses.
    """

    def __init__(self, close_idle: Callable[[], None]) -> None:
        self._close_idle = close_idle
        self._inside = 0
        self._changed = threading.Condition()
        _gates.add(self)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around every use of a connection."""
        with self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self) -> None:
        """Before a fork, in its thread: wait until nobody is inside, close what is open, let nobody in."""
        self._changed.acquire()
        self._changed.wait_for(lambda: self._inside == 0, timeout=_PATIENCE_SECONDS)
        self._close_idle()

    def reopen(self) -> None:
        """After the fork, in the parent."""
        self._changed.release()

    def reopen_in_child(self) -> None:
        """After the fork, in the child: the threads that were inside are not here."""
        self._inside = 0
        self._changed.release()


_gates: Final[WeakSet[ForkGate]] = WeakSet()
_shut: Final[list[ForkGate]] = []
_one_fork: Final = threading.Lock()


def _before() -> None:
    _one_fork.acquire()
    for gate in list(_gates):
        gate.shut()
        _shut.append(gate)


def _after_in_parent() -> None:
    while _shut:
        _shut.pop().reopen()
    _one_fork.release()


def _after_in_child() -> None:
    while _shut:
        _shut.pop().reopen_in_child()
    _one_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
