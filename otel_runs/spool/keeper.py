"""Who keeps the spans of a destination that is away, and brings them home when it is back."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from otel_runs.amounts import many
from otel_runs.children import call_in_child
from otel_runs.spans.span import Span
from otel_runs.spool.replay import Replayed, Save, replay
from otel_runs.spool.spool import Spool

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 10.0
LAST_PATIENCE: Final = 2.0
"""Seconds that the end of a process waits for a replay, at most: a pipeline that lives shorter would never do any."""


class Keeper:
    """Spools the spans of one exporter, and replays what waits for the same destination from a thread of its own.

    Args:
        spool: of the destination.
        opening: opens a way into the destination, for a replay; its errors mean that it is away.
    """

    def __init__(self, spool: Spool, opening: Callable[[], AbstractContextManager[Save]]) -> None:
        self.spool: Final = spool
        self._opening = opening
        self.outage: Exception | None = None
        """Why the destination is away, as long as it is known to be: new spans need not try it then. A forked child
        knows it from its parent: where each task has a process of its own, each would try for ten seconds."""
        self._start_afresh()
        call_in_child(self, Keeper._start_afresh)

    def _start_afresh(self) -> None:
        """The state of a keeper that has seen nothing yet: a new one, or one in a forked child."""
        self._may_wait = True
        """Whether there may be something to replay."""
        self._owes_a_replay = False
        """Whether one was to begin and no thread could."""
        self._closing = threading.Event()
        self._deadline = math.inf
        """When the last replay ends, of ``time.monotonic()``."""
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep(self, spans: Iterable[Span], reason: Exception | None = None, *, patience: float | None = None) -> bool:
        """Spool spans.

        Args:
            spans: ended or open.
            reason: why they cannot be stored: until a replay succeeds, the destination counts as away.
            patience: as ``Spool.append``.

        Returns:
            False if nothing was done, as ``Spool.append``.
        """
        if not self.spool.append(spans, patience=patience):
            return False
        self._may_wait = True
        if reason is not None:
            self.outage = reason
        if self.outage is not None:
            self._start()
        return True

    def note_success(self) -> None:
        """The destination has taken spans: replay what waits for it."""
        if self._may_wait and self._thread is None:
            self._may_wait = self.spool.folder.exists()
            if self._may_wait:
                self._start()

    def close(self) -> None:
        """Try once more to replay what waits, for ``LAST_PATIENCE`` seconds, and end the thread."""
        self._deadline = time.monotonic() + LAST_PATIENCE
        self._closing.set()
        thread = self._thread
        if thread is not None:
            thread.join(LAST_PATIENCE)
        elif self._owes_a_replay and self.outage is None:
            self._replay_all()
        self.spool.rotate()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._closing.is_set():
                return
            thread = threading.Thread(target=self._work, name="otel_runs.replay", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # from Python 3.12 on, an interpreter that shuts down starts no threads
                self._owes_a_replay = True
                return
            self._thread = thread

    def _work(self) -> None:
        for pause in pauses(_FIRST_PAUSE, _LONGEST_PAUSE):
            if self.outage is not None:
                self._closing.wait(pause)
            if self._replay_all():
                with self._starting:
                    # What was spooled after its files had been listed is still there.
                    if not self._may_wait or self._is_over():
                        self._thread = None
                        return
            elif self._closing.is_set():
                return
            elif self.outage is None:
                self._closing.wait(_LONGEST_PAUSE)

    def _replay_all(self) -> bool:
        """Replay what waits; False if that failed and is worth another try."""
        self._may_wait = False  # before looking: who spools meanwhile sets it again
        done = Replayed()
        try:
            if self.spool.holds_files():
                with self._opening() as save:
                    for part in replay(self.spool, save, is_over=self._is_over):
                        done += part
                        self.outage = None
            self.outage = None
        except Exception as exc:  # noqa: BLE001  whatever it is, the spans stay where they are
            logger.debug("A replay of %s ended: %s", self.spool.folder, exc)
            self._may_wait = True
            return False
        finally:
            self._tell(done)
        return True

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline

    def _tell(self, done: Replayed) -> None:
        if done.spans:
            logger.warning("Stored %s that had waited in %s.", many(done.spans, "span"), self.spool.folder)
        if done.quarantined:
            told = many(done.quarantined, "span or line", "spans or lines")
            logger.error("%s in %s can never be stored.", told, self.spool.quarantine_folder)


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds between attempts: doubling, up to a limit."""
    while True:
        yield first
        first = min(first * 2, longest)
