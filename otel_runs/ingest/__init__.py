"""Spans to records to store: what every inlet calls.

What is written is a function of the spans that have arrived, never of their order, batching, number or of who wrote
them (promise P1):

1. each span is mapped by itself (mapping/facts.py);
2. the traces are locked, each by the row of its root run, and what is stored of them is merged in (mapping/merge.py);
   of several root spans of a trace one is its run, the others are steps (mapping/roots.py);
3. each row's place in its trace is settled, also of rows that waited for a span of this batch (mapping/tree.py);
4. runs that have ended, or are presumed to have (mapping/losses.py), are derived again from all their rows
   (mapping/totals.py, mapping/runs.py).

A trace that arrives whole and for the first time, as most do, needs no reading. For SQLite, into which nobody else can
write during a transaction, it is settled and its rows are made before, as if nothing of it were stored; the transaction
looks whether that is so. It lasts 8 us a span instead of 12 (bench/stages.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from otel_runs import settings
from otel_runs.errors import StoreError
from otel_runs.ids import run_id_from_trace
from otel_runs.ingest.batch import Batch, new_and_others
from otel_runs.ingest.race import RaceError
from otel_runs.ingest.settlement import Settlement
from otel_runs.mapping.facts import Facts, facts_from_span
from otel_runs.mapping.losses import Loss
from otel_runs.spans.span import Span
from otel_runs.store.engine import Database
from otel_runs.store.writer import Writer

TRIES: Final = 6
_PAUSE: Final = 0.02
_LOCK_SECONDS: Final = 5
"""That a loss waits for what is locked, at most: it may as well be declared later."""

__all__ = ["TRIES", "Ingest", "Loss"]


class Ingest:
    """Writes spans into one database. Safe from several threads.

    Args:
        database: open, and at the current schema.
        turns: entered around each transaction.
        lock_seconds: that a transaction waits for what is locked, at most; None: as long as it takes.
    """

    def __init__(
        self,
        database: Database,
        turns: AbstractContextManager[object] | None = None,
        lock_seconds: int | None = None,
    ) -> None:
        self._database = database
        self._turns = turns or nullcontext()
        self._lock_seconds = lock_seconds
        self._keep = settings.value(settings.METADATA)
        self._strict = settings.is_strict()

    def save(self, spans: Sequence[Span], *, tries: int = TRIES) -> None:
        """Store what the spans say, all or nothing. Storing a span again changes nothing.

        Args:
            spans: of any traces, in any order.
            tries: how often the transaction is run, at most, where writers meet.

        Raises:
            StoreError: the database did not take them; StoreUnavailableError if it may later.
            MappingError: OTEL_RUNS_STRICT is on, and a known attribute holds a value that cannot be read.
        """
        facts = [facts_from_span(span, self._keep, strict=self._strict) for span in spans]
        if facts:
            self._save(facts, (), tries)

    def declare_lost(self, losses: Sequence[Loss], *, tries: int = TRIES) -> set[str]:
        """End runs that were not heard of again, with the model runs that are open in them.

        Harmless where it is not true (any more): only a run that has not ended, and of which no later heartbeat is
        known, counts as lost. That is decided behind the lock of its trace, like everything that is written. A run that
        another writer has locked is left alone.

        Args:
            losses: what is said of which runs.
            tries: as of ``save``.

        Returns:
            Ids of the runs that count as lost now.

        Raises:
            StoreError: as ``save``.
        """
        return self._save((), losses, tries) if losses else set()

    def _save(self, facts: Sequence[Facts], losses: Sequence[Loss], tries: int) -> set[str]:
        """One transaction, as a whole tried again where writers met: a deadlock, or both made the same row."""
        known: frozenset[str] = frozenset()
        deadline = time.monotonic() + self._database.dialect.patience
        for attempt in range(1, tries + 1):
            try:
                return self._settle(facts, known, losses)
            except RaceError as exc:
                if attempt == tries:
                    raise
                known |= exc.traces
            except StoreError as exc:
                is_over = attempt == tries or time.monotonic() > deadline
                if is_over or not self._database.dialect.transient(exc):
                    raise
                time.sleep(_PAUSE * attempt)
        raise AssertionError  # pragma: no cover  the last try returns or raises

    def _parted(self, facts: Sequence[Facts], known: frozenset[str], losses: Sequence[Loss]) -> tuple[Batch, Batch]:
        """The traces that are settled before the transaction, and the others.

        Where several writers write at once nobody waits for this one, and looking twice would be in vain.
        """
        if self._database.dialect.several_writers:
            return Batch([]), Batch.of(facts)
        return new_and_others(facts, known | self._begun(facts) | {loss.trace_id for loss in losses})

    def _begun(self, facts: Sequence[Facts]) -> set[str]:
        """The traces whose root span is here and of whose run something is stored: batches cut traces in two."""
        traces = {run_id_from_trace(each.trace_id): each.trace_id for each in facts if each.parent_node_id is None}
        if not traces:
            return set()
        with self._database.read() as connection:
            return {traces[run_id] for run_id in Writer(connection).stored_runs(traces)}

    def _settle(self, facts: Sequence[Facts], known: frozenset[str], losses: Sequence[Loss]) -> set[str]:
        new, others = self._parted(facts, known, losses)
        settlement = Settlement(new)
        presumed = settlement.presume_new(self._database.dialect.name) if new.traces else None
        lost: set[str] = set()
        with self._turns, self._database.write() as connection:
            writer = Writer(connection)
            lock_seconds = _LOCK_SECONDS if losses else self._lock_seconds
            if lock_seconds is not None:
                self._database.dialect.limit_waiting(connection, lock_seconds)
            if others.traces or losses:
                said = _not_held(writer, losses)
                settled = Settlement(others, known, said).settle(writer)
                settled.write(writer)
                lost = settled.lost_of(said)
            if presumed is not None:
                if not settlement.is_new(writer):
                    presumed = Settlement(Batch.of(new.facts), known).settle(writer)
                presumed.write(writer)
        return lost


def _not_held(writer: Writer, losses: Sequence[Loss]) -> list[Loss]:
    """The losses of runs that nobody is writing: who does lives, or was stopped in the middle and holds the lock on."""
    lock_of = {loss: {loss.run_id, run_id_from_trace(loss.trace_id)} for loss in losses}
    held = writer.runs_held_by_others(set().union(*lock_of.values())) if losses else set()
    return [loss for loss in losses if held.isdisjoint(lock_of[loss])]
