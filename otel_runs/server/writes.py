"""Whether what was written last could be: a database that answers may take nothing all the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from otel_runs.errors import OtelRunsError, StoreError
from otel_runs.ingest.splitting import UnfinishedError
from otel_runs.receiver.intake import Store
from otel_runs.receiver.request import Outcome, Request
from otel_runs.receiver.storing import Result

HOLD_SECONDS: Final = 5.0
"""After a failure, before writing is tried: when clients come again, too. No small try notices a disk that is full."""
_TRY_SECONDS: Final = 1.0
"""Between two tries."""


class Writes:
    """Stores batches, and remembers whether the last one could be stored. Safe from several threads.

    Args:
        store: stores a batch, as of ``Intake``.
        try_writing: a transaction that writes nothing; raises OtelRunsError.
    """

    def __init__(self, store: Store, try_writing: Callable[[], None]) -> None:
        self._store = store
        self._try_writing = try_writing
        self._failed_at: float | None = None
        """Of the last batch, unless it was stored."""
        self._tried_at = 0.0

    def store(self, requests: Sequence[Request]) -> Sequence[Result]:
        """As the ``store`` that was given."""
        results = self._store(requests)
        if any(isinstance(result, Outcome) and result.stored for result in results):
            self._failed_at = None
        elif any(isinstance(result, StoreError) and not isinstance(result, UnfinishedError) for result in results):
            self._failed_at = time.monotonic()
        return results

    def problem(self) -> str | None:
        """Why spans cannot be stored now; None if they can, as far as that is known."""
        failed_at, now = self._failed_at, time.monotonic()
        if failed_at is not None and now - max(failed_at + HOLD_SECONDS, self._tried_at + _TRY_SECONDS) >= 0:
            self._tried_at = now
            try:
                self._try_writing()
            except OtelRunsError:
                pass
            else:
                # Unless another batch has failed meanwhile.
                self._failed_at = None if self._failed_at == failed_at else self._failed_at
        if self._failed_at is None:
            return None
        return "the run database does not take spans now; the server's log says more"
