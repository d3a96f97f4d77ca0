"""No work of ours on a database is under way while the process forks.

Neither SQLite nor a PostgreSQL session survives in two processes. SQLite is the worse: it keeps its file locks in the
process's memory, so that a child believes in locks which it does not have, even on connections of its own; when the
parent then closes, it removes the write-ahead log under the child. And a module that another thread is importing stays
half imported in the child, behind a lock that nobody releases. So before a fork all of this is awaited and idle
connections are closed, and both processes open new ones when they need them.

Imports nothing but the standard library, and before any thread of ours runs: a fork runs all of its hooks or none.

Source: https://www.sqlite.org/howtocorrupt.html, section 2.6.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol
from weakref import WeakSet

PATIENCE_SECONDS: Final = 2.0
"""How long a fork waits, at most, for a running transaction: the pipeline's fork must not hang on us."""
OPENING_PATIENCE_SECONDS: Final = 10.0
"""How long for imports and for a database that is being opened, which imports, too: a child born in the middle could
never import them. While a server is awaited, it is ``PATIENCE_SECONDS``."""


class Closable(Protocol):
    """What holds connections."""

    def close(self) -> None:
        """Close those that nobody uses."""


class ForkGate:
    """Lets work on databases pass, and stands closed while the process forks."""

    def __init__(self) -> None:
        self._open_for: dict[int, float] = {}
        """Thread that is inside -> how many seconds a fork waits for it."""
        self._changed = threading.Condition()
        self._closables: WeakSet[Closable] = WeakSet()

    def close_before_fork(self, closable: Closable) -> None:
        """Close something before each fork, as long as it lives."""
        self._closables.add(closable)

    @contextmanager
    def passing(self, patience: float | None = None) -> Iterator[None]:
        """Around every use of a database; a thread that is inside may pass again.

        Args:
            patience: seconds that a fork waits for this at most; without it, what holds around this, and at the
                outermost ``PATIENCE_SECONDS``.
        """
        thread = threading.get_ident()
        around = self._open_for.get(thread)
        if around is not None and patience is None:
            yield
            return
        self._set(thread, PATIENCE_SECONDS if patience is None else patience)
        try:
            yield
        finally:
            self._set(thread, around)

    def shut(self) -> None:
        """Before a fork, in its thread: wait until no other thread is inside, close what is open, let nobody in."""
        self._changed.acquire()
        begun = time.monotonic()
        while (left := self._patience_of_others() - (time.monotonic() - begun)) > 0:
            self._changed.wait(left)
        for closable in list(self._closables):
            closable.close()

    def _set(self, thread: int, patience: float | None) -> None:
        """Note that a thread is inside; with None, that it is not."""
        with self._changed:
            if patience is None:
                del self._open_for[thread]
            else:
                self._open_for[thread] = patience
            self._changed.notify_all()

    def _patience_of_others(self) -> float:
        """The longest that this thread waits for one of those that are inside now."""
        here = threading.get_ident()
        return max((most for thread, most in self._open_for.items() if thread != here), default=0.0)

    def reopen(self) -> None:
        """After the fork, in the parent."""
        self._changed.release()

    def reopen_in_child(self) -> None:
        """After the fork, in the child: the other threads that were inside are not here."""
        forked = threading.get_ident()
        self._open_for = {thread: most for thread, most in self._open_for.items() if thread == forked}
        self._changed = threading.Condition()


fork_gate: Final = ForkGate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=fork_gate.shut, after_in_parent=fork_gate.reopen, after_in_child=fork_gate.reopen_in_child
    )
