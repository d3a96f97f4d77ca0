"""What a writer does with the requests of a batch: read them, store their spans, say what became of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from otel_runs.errors import StoreError
from otel_runs.ingest.splitting import RefusedSpan
from otel_runs.receiver.request import Outcome, Request, outcome_of
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import Span

logger = logging.getLogger(__name__)

BATCH_SPANS: Final = 4_096
"""Spans a transaction, at most; a larger request takes several."""

Save = Callable[[Sequence[Span]], Sequence[RefusedSpan]]
Result = Outcome | Exception
"""Errors: DecodeError, TooLargeError and UnsupportedError, which are the request's fault; StoreError, which is not: a
part of the request may be stored all the same."""


class _Read(NamedTuple):
    """A request whose body could be read."""

    position: int
    """In its batch."""
    spans: list[Span]
    refused: list[str]


class Storing:
    """Stores batches of requests. Bodies are unpacked and read one by one, so that no batch takes much memory.

    Args:
        save: stores spans and returns those that cannot be stored; ``save_splitting``, as a rule.
        limits: what is read of one span at most.
        most_bytes: of one request, after decompression.
    """

    def __init__(self, save: Save, limits: Limits, most_bytes: int) -> None:
        self._save = save
        self._limits = limits
        self._most_bytes = most_bytes

    def store(self, requests: Sequence[Request]) -> list[Result]:
        """Store the spans of the requests in as few transactions as may be.

        Returns:
            What became of each request, in their order.
        """
        results: dict[int, Result] = {}
        batch: list[_Read] = []
        spans = 0
        for position, request in enumerate(requests):
            try:
                decoded = request.decode(self._limits, self._most_bytes)
            except Exception as exc:  # noqa: BLE001  whoever waits is told
                results[position] = exc
                continue
            batch.append(_Read(position, decoded.spans, decoded.refused))
            spans += len(decoded.spans)
            if spans >= BATCH_SPANS:
                results.update(self._stored(batch))
                batch, spans = [], 0
        results.update(self._stored(batch))
        return [results[position] for position in range(len(requests))]

    def _stored(self, batch: Sequence[_Read]) -> dict[int, Result]:
        """What became of the requests of a transaction, by their positions."""
        try:
            return self._commit(batch)
        except Exception as exc:
            spans = sum(len(read.spans) for read in batch)
            if isinstance(exc, StoreError):
                logger.warning("%d spans could not be stored and are asked for again: %s", spans, exc)
            else:
                logger.exception("%d spans could not be stored; this is a defect.", spans)
            return dict.fromkeys((read.position for read in batch), exc)

    def _commit(self, batch: Sequence[_Read]) -> dict[int, Result]:
        spans = [span for read in batch for span in read.spans]
        refused: dict[int, str] = {}
        for first in range(0, len(spans), BATCH_SPANS):
            part = self._save(spans[first : first + BATCH_SPANS])
            refused.update((first + each.position, each.reason) for each in part)
        results: dict[int, Result] = {}
        first = 0
        for read in batch:
            end = first + len(read.spans)
            reasons = [refused[position] for position in range(first, end) if position in refused] if refused else []
            results[read.position] = outcome_of(len(read.spans) - len(reasons), [*read.refused, *reasons])
            first = end
        return results
