"""The run database as the server uses it: opened when it can be, and synced at each commit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final
from uuid import UUID

from otel_runs.errors import OtelRunsError, StoreUnavailableError
from otel_runs.ingest import Ingest
from otel_runs.ingest.splitting import RefusedSpan, save_splitting
from otel_runs.reaper.judgement import Judgement
from otel_runs.reaper.reaper import Reaper
from otel_runs.spans.span import Span
from otel_runs.store.dialects import dialect_named
from otel_runs.store.engine import Database, open_database
from otel_runs.store.location import database_url, shown
from otel_runs.store.writer import Writer

_LOCK_SECONDS: Final = 5
"""That a transaction waits for what is locked; exporters give up after ten, and must have an answer before."""
_TRY_SECONDS: Final = 2
_NOBODYS_RUN: Final = str(UUID(int=0))
"""No trace has the id of zeros."""


class RunStore:
    """Writes spans. Safe from several threads.

    Args:
        url: as ``database_url`` takes it.
        turns: to take for each transaction, where several processes write.

    Raises:
        SettingsError: the URL cannot be used.
    """

    def __init__(self, url: str | None, turns: AbstractContextManager[object] | None = None) -> None:
        self._url = database_url(url)
        self.several_writers: Final = dialect_named(self._url.get_backend_name()).several_writers
        self._turns = nullcontext() if turns is None or self.several_writers else turns
        self._opening = threading.Lock()
        self._opened: tuple[Database, Ingest] | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return shown(self._url)

    def load_driver(self) -> None:
        """Import what it is reached by: processes that are forked afterwards share that."""
        with suppress(ImportError):  # told when it is opened
            self._url.get_dialect().import_dbapi()

    def open(self) -> bool:
        """Open the database, and create or migrate it where needed.

        Returns:
            False if it is away for now; then it is opened by the first request that finds it there.

        Raises:
            OtelRunsError: it cannot be used, and somebody has to do something about it.
        """
        try:
            self._open()
        except StoreUnavailableError:
            return False
        return True

    def save(self, spans: Sequence[Span]) -> list[RefusedSpan]:
        """Store spans, to disk. As ``save_splitting``."""
        _, ingest = self._open()
        return save_splitting(ingest, spans)

    def reap(self, reaper: Reaper) -> list[Judgement]:
        """Let a reaper look at the runs.

        Raises:
            OtelRunsError: the database cannot be used now.
        """
        return reaper.look(*self._open())

    def problem(self) -> str | None:
        """Why spans cannot be stored now; None if they can. Names no database: whoever asks may not know it."""
        try:
            database, _ = self._open()
            database.schema_state()
        except OtelRunsError as exc:
            return f"the run database cannot be used now ({type(exc).__name__}); the server's log says more"
        return None

    def try_writing(self) -> None:
        """Delete the run that nobody has, in a transaction like any other.

        Raises:
            OtelRunsError: the database takes no writes now: it is read-only or locked, a table or a right is missing.
        """
        database, _ = self._open()
        with database.write() as connection:
            database.dialect.limit_waiting(connection, _TRY_SECONDS)
            Writer(connection).delete_runs([_NOBODYS_RUN])

    def close(self) -> None:
        """Close all connections."""
        with self._opening:
            if self._opened is not None:
                self._opened[0].close()

    def _open(self) -> tuple[Database, Ingest]:
        with self._opening:
            if self._opened is None:
                database = open_database(self._url, synchronous="FULL")
                self._opened = (database, Ingest(database, self._turns, _LOCK_SECONDS))
            return self._opened
