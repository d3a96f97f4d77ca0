"""A batch of which some spans cannot be stored: the others are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from otel_runs.errors import StoreError, StoreValueError
from otel_runs.ingest import TRIES, Ingest
from otel_runs.ingest.settlement import RaceError
from otel_runs.spans.span import Span

_TRIES: Final = 3
"""Of a part: who loses a race finds the winner's rows at the next try. The whole batch has had more."""
_MOST_FAILURES: Final = 256
"""Failed transactions a batch. Enough to find a dozen bad spans among thousands, and seconds, not minutes, of work."""


class RefusedSpan(NamedTuple):
    """A span that cannot be stored, now or later."""

    position: int
    """In the batch."""
    span: Span
    error: Exception

    @property
    def reason(self) -> str:
        """Which span it is and why, in one line; where the database is, is nobody's business who sends spans."""
        error = self.error.__cause__ if isinstance(self.error, StoreValueError) and self.error.__cause__ else self.error
        said = str(error).strip().partition("\n")[0]
        name = f"{self.span.span_id} of trace {self.span.trace_id}"
        return f"Span {name} cannot be stored: {said or type(error).__name__}."


def save_splitting(ingest: Ingest, spans: Sequence[Span]) -> list[RefusedSpan]:
    """Store a batch, and where it cannot be stored as a whole, all of it but the spans that are to blame.

    One transaction as a rule. If it fails because of what is in it, its halves are tried, and their halves, until the
    bad spans stand alone. The work is bounded: where very many spans are bad, their nearest neighbours are refused with
    them.

    Returns:
        The spans that were refused, none as a rule. All others are committed.

    Raises:
        StoreError: the database takes nothing now, whatever the spans (StoreUnavailableError), or until somebody
            repairs it. A part of the batch may be stored; storing it again changes nothing.
        RaceError: other writers were faster at some spans, at every try; all others are stored. As above.
    """
    refused: list[RefusedSpan] = []
    lost: RaceError | None = None
    failures = 0
    # By trace, because what is bad is often bad together: two traces that claim the same row, for instance.
    parts = [sorted(range(len(spans)), key=lambda position: spans[position].trace_id)]
    while parts:
        part = parts.pop()
        try:
            ingest.save([spans[position] for position in part], tries=_TRIES if failures else TRIES)
        except Exception as exc:
            if not _may_spare_a_part(exc):
                raise
            failures += 1
            if len(part) > 1 and failures <= _MOST_FAILURES:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            elif isinstance(exc, RaceError):
                lost = exc  # no fault of the spans: refused for it, they would be lost
            else:
                refused += [RefusedSpan(position, spans[position], exc) for position in part]
    if lost is not None:
        raise lost
    return refused


def _may_spare_a_part(error: Exception) -> bool:
    """Whether the same database may take a part of the spans: a refused row, a lost race, a span we misread."""
    if isinstance(error, StoreError):
        return isinstance(error, StoreValueError | RaceError)
    return not isinstance(error, OSError | MemoryError)
