"""Looking at the run database again and again, for as long as somebody watches, also while it is away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from otel_runs.cli.history import find_history, nothing_yet
from otel_runs.cli.output import hint
from otel_runs.errors import NotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_runs.store.engine import Database

SHARE: Final = 0.2
"""The part of the time that looking may take: where one look takes long, the next one is further away."""
LONGEST_PAUSE: Final = 5.0
"""Seconds between two looks, at most, however long they take."""


class Looking:
    """Looks at a run database at an interval, until it is told to stop or the time is up.

    A database that is not there yet is waited for. One that was reached and goes away is told of once, and once more
    when it is back.
    """

    def __init__(self, url: str | None, *, interval: float, timeout: float | None) -> None:
        """Look, but not yet.

        Args:
            url: the run database.
            interval: seconds between two looks.
            timeout: seconds after which to stop; None: never.
        """
        self._url = url
        self._interval = interval
        self._ends = None if timeout is None else time.monotonic() + timeout
        self._database: Database | None = None
        self._took = 0.0
        self._reached = False
        self._waiting = False
        self._away = False

    def until(self, look: Callable[[Database], bool]) -> bool:
        """Look until ``look`` says that it has seen the end: True. False: the time was up before.

        Raises:
            StoreError: the database could not be read, and a later look would not do better; or it could not be reached
                at the first look.
        """
        try:
            while True:
                if self._look(look):
                    return True
                if self._ends is not None and time.monotonic() >= self._ends:
                    return False
                self._pause(max(self._interval, min(self._took / SHARE, LONGEST_PAUSE)))
        finally:
            if self._database is not None:
                self._database.close()

    def _look(self, look: Callable[[Database], bool]) -> bool:
        try:
            self._database = self._database or find_history(self._url)
            if self._database is None:
                self._wait_for_first()
                return False
            # Opening does not count: the first look would be followed by a pause in which a short run comes and goes.
            began = time.monotonic()
            is_done = look(self._database)
            self._took = time.monotonic() - began
        except (StoreUnavailableError, NotFoundError) as exc:
            if not self._reached or not self._is_gone(exc):
                raise
            self._tell_away(exc)
            return False
        self._reached = True
        if self._away:
            self._away = False
            hint("The run database is back.")
        return is_done

    def _is_gone(self, exc: StoreUnavailableError | NotFoundError) -> bool:
        """Whether the database is away, and not just something in it not found."""
        if isinstance(exc, StoreUnavailableError):
            return True
        try:
            there = find_history(self._url)
        except StoreUnavailableError:
            return True
        if there is not None:
            there.close()
        return there is None

    def _wait_for_first(self) -> None:
        if not self._waiting and not self._away:
            hint(nothing_yet(self._url))
        self._waiting = True

    def _tell_away(self, exc: Exception) -> None:
        if not self._away:
            hint(f"{exc}. Looking again until it is back; Ctrl-C ends this.")
        self._away = True

    def _pause(self, seconds: float) -> None:
        if self._ends is not None:
            seconds = min(seconds, self._ends - time.monotonic())
        time.sleep(max(0.0, seconds))
