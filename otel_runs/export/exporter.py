"""The inlet for spans of this process: an OpenTelemetry exporter that writes to the run database."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_runs.amounts import many
from otel_runs.children import call_in_child
from otel_runs.counters import counters
from otel_runs.errors import MissingDriverError, OtelRunsError, SettingsError, StoreUnavailableError
from otel_runs.export.keeping import UnreadableSpans, last_first
from otel_runs.export.spooling import into_database, spool_of_database
from otel_runs.garbage import LookingSeldom
from otel_runs.settings import is_strict
from otel_runs.spans.from_sdk import SdkSpans, UnreadableSpanError
from otel_runs.spans.span import Span
from otel_runs.spool.keeper import Keeper, pauses
from otel_runs.spool.replay import Save
from otel_runs.spool.spool import Quarantined
from otel_runs.store.folder import settled_url
from otel_runs.store.forks import OPENING_PATIENCE_SECONDS, fork_gate

if TYPE_CHECKING:  # these import SQLAlchemy
    from otel_runs.ingest.splitting import RefusedSpan
    from otel_runs.store.engine import Database

    Store = Callable[[Sequence[Span]], list[RefusedSpan]]

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_MOST_CAUSES: Final = 20
"""Different messages that one outage may log; a cause that carries a changing number must not flood the log."""


class RunsSpanExporter(SpanExporter):
    """Stores finished spans as runs and model runs. For anyone's ``TracerProvider``.

    Nothing is opened before the first span (behind ``RunsSpanProcessor``: starts; behind others: is exported), so
    making one neither fails nor waits, and a forked child opens its own connection. A failure never reaches the
    pipeline: it is logged once a cause, counted (``otel_runs.stats()``), and its end is logged too. With
    ``OTEL_RUNS_STRICT=true`` it is raised as well. Spans that cannot be stored now are kept in a spool and stored
    later; those that can never be stored are put in quarantine.
    """

    takes_unsampled: Final = True
    """Sampling is about what others store."""

    def __init__(self, url: str | os.PathLike[str] | None = None, *, retry_seconds: float = RETRY_SECONDS) -> None:
        """Prepare to write to a database.

        Args:
            url: an SQLAlchemy URL or an SQLite file's path; without it ``OTEL_RUNS_DB``, then the default place.
            retry_seconds: how long one batch is tried again while the database is down, locked or full.
        """
        self._url = _kept_place(url)
        self._retry_seconds = retry_seconds
        self._sdk_spans = SdkSpans()
        self._looking_seldom = LookingSeldom()
        self._causes: set[str] = set()
        self._failures = 0
        self._lose_unreadable = UnreadableSpans()
        self._keeper = _keeper_of(self._url)
        self._start_unopened()
        call_in_child(self, RunsSpanExporter._become_child)

    @property
    def url(self) -> str | os.PathLike[str] | None:
        """The run database, as it was meant when the exporter was made."""
        return self._url

    def _start_unopened(self) -> None:
        """The state of an exporter that has opened nothing yet: a new one, or one in a forked child."""
        self._exporting = threading.Lock()
        self._closing = threading.Event()
        self._database: Database | None = None
        self._store: Store | None = None
        """Into the database, once that is open."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Store a batch in one transaction, trying again for a while if the database cannot be reached now.

        Spans that cannot be stored at all cost no other span of the batch its row.

        Returns:
            SUCCESS when the whole batch is committed, else FAILURE; then ``otel_runs.stats()`` says what failed.

        Raises:
            StoreError: only with ``OTEL_RUNS_STRICT=true``; so are errors of single spans.
        """
        counters.add(received=len(spans))
        with self._exporting, self._looking_seldom, instrumentation_suppressed():
            error = self._export(spans)
        if error is None:
            return SpanExportResult.SUCCESS
        if is_strict():
            raise error
        return SpanExportResult.FAILURE

    @property
    def is_spooling(self) -> bool:
        """Whether spans that cannot be stored are kept for later (``OTEL_RUNS_SPOOL``)."""
        return self._keeper is not None

    def spool(self, spans: Sequence[ReadableSpan], *, patience: float | None = None) -> bool:
        """Keep spans for later instead of storing them; from any thread, also while a batch is being stored.

        Args:
            spans: ended.
            patience: seconds to wait while another thread writes to the spool.

        Returns:
            False if that took longer, or the spool is off: nothing was done.
        """
        if self._keeper is None:
            return False
        sdk_spans = SdkSpans()  # ours belongs to the exporting thread
        found = sdk_spans.spans_from_sdk(last_first(spans, self._keeper.spool.folder), self._lose_unreadable)
        if not self._keeper.keep(found, patience=patience):
            return False
        counters.add(received=len(spans))
        return True

    def prepare(self) -> None:
        """Open the database. If that fails, the first batch tries again, and tells."""
        with self._exporting, instrumentation_suppressed(), suppress(Exception):
            self._opened()

    def export_started(self, spans: Sequence[Span]) -> bool:
        """Store open spans as running, in one attempt that is not counted: their ends will be.

        Returns:
            Whether the database took what it can take, or is known to be away, so that they are spooled.
        """
        if not spans:
            return True
        with self._exporting, instrumentation_suppressed():
            if self._keeper is not None and self._keeper.outage is not None:
                return self._keeper.keep(spans)
            try:
                refused = self._opened()(spans)
            except Exception as exc:  # noqa: BLE001  the spans' ends will tell, if it is still so
                logger.debug("%d open spans could not be stored: %s", len(spans), exc)
                return False
        for each in refused:  # its end will be refused, and counted
            logger.debug("%s", each.reason)
        return True

    def export_heartbeats(self, spans: Sequence[Span]) -> bool:
        """Store that runs live: the same rows, with a later ``heartbeat_at``."""
        return self.export_started(spans)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Nothing waits here: ``export`` returns after the commit."""
        return True

    def shutdown(self) -> None:
        """Stop trying again, let a batch that is being written finish, and close the database. May be called twice."""
        self._closing.set()
        with self._exporting:
            if self._keeper is not None:
                self._keeper.close()
            if self._database is not None:
                self._database.close()
            self._database = self._store = None

    def _export(self, spans: Sequence[ReadableSpan]) -> Exception | None:
        """Store a batch, or keep it for later; why it is not stored whole, None if it is."""
        unreadable: list[UnreadableSpanError] = []
        found = list(self._sdk_spans.spans_from_sdk(spans, unreadable.append))
        for each in unreadable:
            self._lose_unreadable(each)
        error = self._export_readable(found) if found else None
        return error or next(iter(unreadable), None)

    def _export_readable(self, found: Sequence[Span]) -> Exception | None:
        try:
            outage = self._keeper.outage if self._keeper is not None and not is_strict() else None
            if self._keeper is not None and outage is not None:
                self._keeper.keep(found)
                return outage
            refused = self._save(found)
        except Exception as exc:  # noqa: BLE001  telemetry never breaks the pipeline
            self._give_up(found, exc)
            return exc
        counters.add(stored=len(found) - len(refused))
        if refused:
            self._refuse(refused)
            return refused[0].error
        if self._keeper is not None:
            self._keeper.note_success()
        return None

    def _save(self, spans: Sequence[Span]) -> list[RefusedSpan]:
        """Write the batch, pausing between attempts, and return what the database will never take.

        Raises:
            StoreUnavailableError: the database stayed unavailable for ``retry_seconds``.
            StoreError: the database refuses the batch; trying again would not help.
        """
        deadline = time.monotonic() + self._retry_seconds
        for pause in pauses(_FIRST_PAUSE, _LONGEST_PAUSE):
            try:
                refused = self._opened()(spans)
            except StoreUnavailableError as exc:
                if time.monotonic() + pause > deadline or self._closing.wait(pause):
                    raise
                self._failures += 1
                counters.add_error(exc)
            else:
                if not refused:
                    self._note_recovery()
                return refused
        raise AssertionError  # the pauses do not end

    def _opened(self) -> Store:
        """The way into the database, which the first batch opens."""
        if self._store is None:
            with fork_gate.passing(OPENING_PATIENCE_SECONDS):
                # Imported here: SQLAlchemy is most of the cost of importing otel_runs, and the pipeline need not wait.
                # Everything at once: a child that is forked amid an import could never import that module.
                from otel_runs.ingest import Ingest
                from otel_runs.ingest.splitting import save_splitting
                from otel_runs.store.engine import open_database

                self._database = open_database(self._url)
                self._store = partial(save_splitting, Ingest(self._database))
        return self._store

    def _give_up(self, found: Sequence[Span], error: Exception) -> None:
        """Keep a batch for later; where that is not possible, count it as failed.

        A wrong URL is another database than the right one: what was meant for it has nowhere to go.
        """
        has_a_place = isinstance(error, MissingDriverError) or not isinstance(error, SettingsError)
        if self._keeper is not None and has_a_place:
            # Told first: what cannot be spooled either is told next, and is the last word.
            self._tell(len(found), error, f"They go to {self._keeper.spool.folder} and wait there until they can be.")
            self._keeper.keep(found, error)
        else:
            counters.add(failed=len(found))
            self._tell(len(found), error, "They are lost.")

    def _refuse(self, refused: Sequence[RefusedSpan]) -> None:
        """Put what the database will never take in quarantine; where that is not possible, count it as failed."""
        found = [Quarantined(each.span, each.reason) for each in refused]
        if self._keeper is not None and self._keeper.spool.quarantine(found):
            self._tell(len(refused), refused[0].error, "They are kept in quarantine.")
        else:
            counters.add(failed=len(refused))
            self._tell(len(refused), refused[0].error, "They are lost.")

    def _tell(self, spans: int, error: Exception, what_now: str) -> None:
        """Count a failure, and say why, once a cause."""
        self._failures += 1
        counters.add_error(error)
        cause = f"{type(error).__name__}: {error}"
        if cause in self._causes or len(self._causes) >= _MOST_CAUSES:
            return
        self._causes.add(cause)
        logger.error(
            "%s could not be stored: %s. %s The pipeline goes on; otel_runs.stats() counts; not said again.",
            many(spans, "span"),
            cause,
            what_now,
            exc_info=None if isinstance(error, OtelRunsError) else error,
        )

    def _note_recovery(self) -> None:
        if self._causes:
            logger.warning("Spans are being stored again, after %d failed attempts.", self._failures)
        self._failures = 0
        self._causes.clear()

    def _become_child(self) -> None:
        if self._database is not None:
            _left_to_parents.append(self._database)
        self._start_unopened()


_UNSAMPLED: Final = NonRecordingSpan(SpanContext(trace_id=1, span_id=1, is_remote=False, trace_flags=TraceFlags(0)))


@contextmanager
def instrumentation_suppressed() -> Generator[None]:
    """Let no instrumented library make spans of what is done inside; such spans would be exported, for ever.

    Library instrumentations look for the SDK's key, or for the plain text. Older ones of databases (0.48b0) look for
    neither; an unsampled parent keeps their spans unsampled, with every sampler that follows the parent.
    """
    here = context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True)
    here = context.set_value("suppress_instrumentation", value=True, context=here)
    token = context.attach(set_span_in_context(_UNSAMPLED, here))
    try:
        yield
    finally:
        context.detach(token)


def _kept_place(url: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """The database as it is meant now: the pipeline may change its working directory before the first export."""
    try:
        return settled_url(url)
    except SettingsError:
        return url  # told by the export, which has a way to tell


def _keeper_of(url: str | os.PathLike[str] | None) -> Keeper | None:
    """Who keeps what cannot be stored; None where that is turned off, or has no place."""
    try:
        spool = spool_of_database(url)
    except SettingsError as exc:
        logger.error("%s Spans that cannot be stored will be lost.", exc)  # noqa: TRY400  the message says it all
        return None
    if spool is None:
        return None

    @contextmanager
    def opening() -> Generator[Save]:
        with instrumentation_suppressed(), into_database(url) as save:
            yield save

    return Keeper(spool, opening)


_left_to_parents: list[Database] = []
"""Databases that a forked child inherited. Neither used nor closed, not even by the garbage collector: a connection
that the fork could not wait for is the parent's."""
