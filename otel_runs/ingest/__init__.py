"""Spans to records to store: what every inlet calls.

What is written is a function of the spans that have arrived, never of their order, batching, number or of who wrote
them (promise P1):

1. each span is mapped by itself (mapping/facts.py);
2. the traces are locked, each by the row of its root run, and what is stored of them is merged in (mapping/merge.py);
3. each row's place in its trace is settled, also of rows that waited for a span of this batch (mapping/tree.py);
4. runs that have ended are derived again from all their rows (mapping/totals.py, mapping/runs.py).

A trace that arrives whole and for the first time, as most do, needs no reading.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from otel_runs import settings
from otel_runs.errors import StoreError
from otel_runs.ingest.settlement import RaceError, Settlement
from otel_runs.mapping.facts import Facts, facts_from_span
from otel_runs.spans.span import Span
from otel_runs.store.engine import Database
from otel_runs.store.writer import Writer

TRIES: Final = 6
_PAUSE: Final = 0.02

__all__ = ["TRIES", "Ingest"]


class Ingest:
    """Writes spans into one database. Safe from several threads.

    Args:
        database: open, and at the current schema.
        turns: entered around each transaction.
    """

    def __init__(self, database: Database, turns: AbstractContextManager[object] | None = None) -> None:
        self._database = database
        self._turns = turns or nullcontext()
        self._keep = settings.read_as(settings.METADATA, settings.patterns)
        self._strict = settings.read_as(settings.STRICT, settings.boolean)

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
            self._save(facts, tries)

    def _save(self, facts: Sequence[Facts], tries: int) -> None:
        """One transaction, as a whole tried again where writers met: a deadlock, or both made the same row."""
        known: frozenset[str] = frozenset()
        for attempt in range(1, tries + 1):
            try:
                self._settle(facts, known)
            except RaceError as exc:
                if attempt == tries:
                    raise
                known |= exc.traces
            except StoreError as exc:
                if attempt == tries or not self._database.dialect.transient(exc):
                    raise
                time.sleep(_PAUSE * attempt)
            else:
                return

    def _settle(self, facts: Sequence[Facts], known: frozenset[str]) -> None:
        with self._turns, self._database.write() as connection:
            writer = Writer(connection)
            try:
                Settlement(writer, facts, known).settle()
            except BaseException:
                writer.forget()
                raise
