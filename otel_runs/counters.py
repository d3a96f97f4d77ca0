"""What became of this process's spans: counted always, told when asked and at exit."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import NamedTuple

from otel_runs.children import call_in_child


class Stats(NamedTuple):
    """Counters of this process since it started (in a forked child: since the fork)."""

    spans_received: int = 0
    """Ended spans that reached an exporter of ours."""
    spans_stored: int = 0
    """Spans whose transaction was committed; without a database here, those that the OTLP endpoint took."""
    spans_failed: int = 0
    """Spans that an exporter of ours gave up and could not even keep in the spool or in quarantine."""
    spans_dropped: int = 0
    """Spans that are gone: the queue was full or the process ended, and the spool was full, failing or off."""
    unrecorded: int = 0
    """Values and uses of ``run``, ``step`` and ``record`` that could not be recorded."""
    export_errors: int = 0
    """Attempts to store a batch that failed; one that succeeded later counts here too."""
    last_error: str | None = None
    """Type and message of the latest of these failures."""
    last_error_at: datetime | None = None
    spans_spooled: int = 0
    """Spans that could not be stored in time and were put in the spool, to be stored later."""
    spans_quarantined: int = 0
    """Spans that can never be stored and were put in quarantine."""


class Counters:
    """The counters behind ``stats()``; safe from several threads."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start at zero, with a lock that nobody holds."""
        self._lock = threading.Lock()
        self._stats = Stats()

    def add(
        self,
        *,
        received: int = 0,
        stored: int = 0,
        failed: int = 0,
        dropped: int = 0,
        unrecorded: int = 0,
        spooled: int = 0,
        quarantined: int = 0,
    ) -> None:
        """Add numbers of spans, and of what could not be recorded on one."""
        with self._lock:
            now = self._stats
            self._stats = now._replace(
                spans_received=now.spans_received + received,
                spans_stored=now.spans_stored + stored,
                spans_failed=now.spans_failed + failed,
                spans_dropped=now.spans_dropped + dropped,
                unrecorded=now.unrecorded + unrecorded,
                spans_spooled=now.spans_spooled + spooled,
                spans_quarantined=now.spans_quarantined + quarantined,
            )

    def add_error(self, error: BaseException) -> None:
        """Count an attempt that failed, and keep what it said."""
        with self._lock:
            self._stats = self._stats._replace(
                export_errors=self._stats.export_errors + 1,
                last_error=f"{type(error).__name__}: {error}",
                last_error_at=datetime.now(UTC),
            )

    def read(self) -> Stats:
        """The counters as they are now."""
        return self._stats


counters = Counters()
# What the parent counted is the parent's; and its lock may be held by a thread that the child does not have.
call_in_child(counters, Counters.reset)


def stats() -> Stats:
    """How many spans this process has recorded, stored and lost, and why.

    Returns:
        The counters of all exporters and processors of otel_runs in this process. Spans that still wait in a queue are
        in none of them; flush first for a settled account.
    """
    return counters.read()
