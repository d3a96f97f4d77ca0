"""A batch of which some spans cannot be stored: the others are."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Collection, Sequence
from random import shuffle
from typing import Final, NamedTuple, Self

from otel_runs.errors import StoreError, StoreUnavailableError, StoreValueError
from otel_runs.ingest import Ingest
from otel_runs.ingest.race import RaceError
from otel_runs.spans.span import Span

SECONDS: Final = 20.0
"""For one batch, after the first of its transactions failed. Where the disk is slow, a few thousand transactions."""
_TRIES: Final = 3
"""Of a part: who loses a race finds the winner's rows at the next try. The whole batch has had more."""
_MOST_FAILURES: Final = 256
"""Failed transactions a batch that cut a single trace. Enough to find a dozen bad spans among thousands of one."""
_TRACE: Final = re.compile(r"\btrace [0-9a-f]{32}\b")


class RefusedSpan(NamedTuple):
    """A span that cannot be stored, now or later."""

    position: int
    """In the batch."""
    span: Span
    error: Exception

    @property
    def reason(self) -> str:
        """Which span it is and why, in one line.

        Where the database is, and which traces of others are in it, is nobody's business who sends spans.
        """
        error = self.error.__cause__ if isinstance(self.error, StoreValueError) and self.error.__cause__ else self.error
        said = _TRACE.sub("another trace", str(error).strip().partition("\n")[0])
        name = f"{self.span.span_id} of trace {self.span.trace_id}"
        return f"Span {name} cannot be stored: {said or type(error).__name__}."


class UnfinishedError(StoreUnavailableError):
    """A part of a batch was neither stored nor refused, through no fault of its spans: it is to be stored later.

    Args:
        why: it was not.
        left: positions of its spans in the batch; all others are committed or refused.
        refused: the spans that were refused.
    """

    def __init__(self, why: str, left: Collection[int], refused: Sequence[RefusedSpan]) -> None:
        super().__init__(why)
        self.left = frozenset(left)
        self.refused = refused

    def __reduce__(self) -> tuple[type[Self], tuple[str, Collection[int], tuple[()]]]:
        """Through a pipe go the words and the positions: the refused spans hold errors of drivers, which may not."""
        return type(self), (str(self), self.left, ())


def save_splitting(ingest: Ingest, spans: Sequence[Span], *, seconds: float = SECONDS) -> list[RefusedSpan]:
    """Store a batch, and where it cannot be stored as a whole, all of it but the spans that are to blame.

    One transaction as a rule. If it fails because of what is in it, its halves are tried, and their halves, until the
    bad spans stand alone. The work is bounded: where very many spans are bad, the other spans of their traces are
    refused with them, but never a trace of which no span is bad: it may be somebody else's.

    Args:
        ingest: of the database.
        spans: the batch.
        seconds: to find the bad ones.

    Returns:
        The spans that were refused, none as a rule. All others are committed.

    Raises:
        UnfinishedError: other writers were faster at some spans, at every try, or the time was over.
        StoreError: the database takes nothing now, whatever the spans (StoreUnavailableError), or until somebody
            repairs it. A part of the batch may be stored; storing it again changes nothing.
    """
    try:
        ingest.save(spans)
    except Exception as exc:
        if not _may_spare_a_part(exc):
            raise
        search = _Search(ingest, spans)
        search.divide(_in_order(spans), exc)
        return search.refused_within(seconds)
    return []


class _Search:
    """Stores a batch part by part, until the spans stand alone that cannot be stored."""

    def __init__(self, ingest: Ingest, spans: Sequence[Span]) -> None:
        self._ingest = ingest
        self._spans = spans
        self._parts: deque[list[int]] = deque()
        """Positions of spans that are to be stored. The largest come first: so few transactions store what is good."""
        self._failures = 0
        """Of parts of one trace."""
        self._refused: list[RefusedSpan] = []
        self._lost: list[int] = []

    def divide(self, part: list[int], error: Exception) -> None:
        """Take note that a part could not be stored."""
        between_traces = _between_traces(self._spans, part)
        self._failures += between_traces is None
        if between_traces is not None or (len(part) > 1 and self._failures <= _MOST_FAILURES):
            middle = between_traces or len(part) // 2
            halves = [part[:middle], part[middle:]]
            # Where the time is over before all were tried, others come to be tried when the batch is sent again.
            shuffle(halves)
            self._parts += halves
        elif isinstance(error, RaceError):
            self._lost += part  # no fault of the spans: refused for it, they would be gone
        else:
            self._refused += [RefusedSpan(position, self._spans[position], error) for position in part]

    def refused_within(self, seconds: float) -> list[RefusedSpan]:
        """Store the parts. Arguments, result and errors are those of ``save_splitting``."""
        deadline = time.monotonic() + seconds
        why = "another writer was faster at a part of this batch, at every try; try again"
        while self._parts:
            if time.monotonic() > deadline:
                why = f"{seconds:g} seconds were too few to find the spans that cannot be stored; try again"
                self._lost += [position for part in self._parts for position in part]
                break
            part = self._parts.popleft()
            try:
                self._ingest.save([self._spans[position] for position in part], tries=_TRIES)
            except Exception as exc:
                if not _may_spare_a_part(exc):
                    raise
                self.divide(part, exc)
        if self._lost:
            raise UnfinishedError(why, self._lost, self._refused)
        return self._refused


def _in_order(spans: Sequence[Span]) -> list[int]:
    """The positions of spans, those side by side that are often bad together: of one sender, and of one trace."""
    senders: dict[int, int] = {}
    for span in spans:
        senders.setdefault(id(span.resource), len(senders))
    return sorted(range(len(spans)), key=lambda at: (senders[id(spans[at].resource)], spans[at].trace_id))


def _between_traces(spans: Sequence[Span], part: Sequence[int]) -> int | None:
    """Where a part is best cut without cutting a trace; None if it is of one trace."""
    ids = [spans[position].trace_id for position in part]
    cuts = [at for at in range(1, len(ids)) if ids[at] != ids[at - 1]]
    return min(cuts, key=lambda at: abs(at - len(ids) // 2), default=None)


def _may_spare_a_part(error: Exception) -> bool:
    """Whether the same database may take a part of the spans: a refused row, a lost race, a span we misread."""
    if isinstance(error, StoreError):
        return isinstance(error, StoreValueError | RaceError)
    return not isinstance(error, OSError | MemoryError | RecursionError)
