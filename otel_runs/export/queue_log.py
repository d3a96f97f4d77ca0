"""What a queue says in the log: the same thing once, or so seldom that the pipeline's own lines can still be found."""

from __future__ import annotations

import logging
import time
from itertools import count
from typing import Final

from otel_runs.amounts import many

logger = logging.getLogger(__name__)

FULL_AGAIN_SECONDS: Final = 60.0
"""A burst fills the queue again and again, while batches of it are stored."""


class QueueLog:
    """The lines of one queue. Called by several threads; that one of them says a thing twice does no harm."""

    def __init__(self) -> None:
        self._is_full = False
        self._not_full_again_before = 0.0
        """As of ``time.monotonic()``."""
        self._late = count(1)
        self._late_said_at = 1
        self._is_failing = False

    def say_full(self, size: int, what_now: str) -> None:
        """The queue is full.

        Args:
            size: of the queue, in spans.
            what_now: what becomes of the oldest: "spooled" or "dropped".
        """
        if self._is_full:
            return
        self._is_full = True
        if time.monotonic() < self._not_full_again_before:
            return
        self._not_full_again_before = time.monotonic() + FULL_AGAIN_SECONDS
        logger.error(
            "More than %d spans wait to be stored; the oldest are %s. otel_runs.stats() counts them.", size, what_now
        )

    def note_half_empty(self) -> None:
        """The burst is over: the next one is to be told."""
        self._is_full = False

    def say_late(self) -> None:
        """A span has ended after the shutdown: said of the first, the tenth, the hundredth and so on."""
        number = next(self._late)  # one operation, which the interpreter does not interrupt
        if number == self._late_said_at:
            self._late_said_at *= 10
            self.say_dropped(number, f"ended after the shutdown (said again at {self._late_said_at:,})")

    def say_failed(self, error: BaseException) -> None:
        """An exporter has raised; said again after it has succeeded."""
        if not self._is_failing:
            self._is_failing = True
            logger.error("An exporter failed; not said again until it succeeds.", exc_info=error)

    def note_success(self) -> None:
        """An exporter has not raised."""
        self._is_failing = False

    def say_dropped(self, spans: int, reason: str) -> None:
        """Spans are gone."""
        logger.error("%s not stored: %s.", many(spans, "span is", "spans are"), reason)

    def say_spooled_at_the_end(self, spans: int, reason: str) -> None:
        """The time is over, and what was left is in the spool."""
        logger.error("%s %s; kept in the spool.", many(spans, "span is", "spans are"), reason)
