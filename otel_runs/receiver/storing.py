"""What a writer does with the requests of a batch: read them, store their spans, say what became of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from otel_runs.amounts import many
from otel_runs.errors import StoreError
from otel_runs.ingest.splitting import RefusedSpan, UnfinishedError
from otel_runs.receiver.request import Outcome, Request, joined, outcome_of
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import Span

logger = logging.getLogger(__name__)

BATCH_SPANS: Final = 4_096
"""Spans a transaction, at most; a larger request takes several."""
LARGE_REQUEST_SPANS: Final = 1_536
"""The same of a request that is read part by part: it waits in memory meanwhile, and the next part with it. Twenty such
requests at a time leave a server with two workers at 146 MB; with 2,048 spans at 152, and not faster
(bench/receivers.py)."""

Save = Callable[[Sequence[Span]], Sequence[RefusedSpan]]
Result = Outcome | Exception
"""Errors: DecodeError, TooLargeError and UnsupportedError, which are the request's fault; StoreError, which is not: a
part of the request may be stored all the same."""


class _Read(NamedTuple):
    """A request, or a part of one, whose body could be read."""

    position: int
    """Of the request, in its batch."""
    spans: list[Span]
    refused: list[str]


class Storing:
    """Stores batches of requests.

    Bodies are unpacked one by one, and large ones read part by part, so that no batch takes much memory.

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
                for number, part in enumerate(request.decode(self._limits, self._most_bytes)):
                    if spans + len(part.spans) > (LARGE_REQUEST_SPANS if number else BATCH_SPANS):
                        self._store(batch, results)
                        batch, spans = [], 0
                    if isinstance(results.get(position), Exception):
                        break  # a part of it could not be stored: its sender will send all of it again
                    batch.append(_Read(position, part.spans, part.refused))
                    spans += len(part.spans)
            except Exception as exc:  # noqa: BLE001  whoever waits is told
                results[position] = exc
        self._store(batch, results)
        return [results[position] for position in range(len(requests))]

    def _store(self, batch: Sequence[_Read], results: dict[int, Result]) -> None:
        """Store what a transaction takes, and add what became of it to the results of its requests."""
        for position, result in self._stored(batch):
            known = results.get(position)
            if known is None or isinstance(result, Exception):
                results[position] = result
            elif not isinstance(known, Exception):
                results[position] = joined(known, result)

    def _stored(self, batch: Sequence[_Read]) -> list[tuple[int, Result]]:
        """What became of each part, with the position of its request."""
        try:
            return self._commit(batch)
        except Exception as exc:
            spans = sum(len(read.spans) for read in batch)
            if isinstance(exc, StoreError):
                logger.warning("%s could not be stored, and asked for again: %s", many(spans, "span"), exc)
            else:
                logger.exception("%s could not be stored; this is a defect.", many(spans, "span"))
            return [(read.position, exc) for read in batch]

    def _commit(self, batch: Sequence[_Read]) -> list[tuple[int, Result]]:
        refused, unfinished = self._saved([span for read in batch for span in read.spans])
        results: list[tuple[int, Result]] = []
        first = 0
        for read in batch:
            end = first + len(read.spans)
            # Only its own spans decide what is said to a sender, not those that came to be in the same transaction.
            error = next((unfinished[at] for at in range(first, end) if at in unfinished), None) if unfinished else None
            reasons = [refused[at] for at in range(first, end) if at in refused] if refused else []
            outcome = outcome_of(len(read.spans) - len(reasons), [*read.refused, *reasons])
            results.append((read.position, error or outcome))
            first = end
        return results

    def _saved(self, spans: Sequence[Span]) -> tuple[dict[int, str], dict[int, Exception]]:
        """Store spans; by their positions, why some are refused for good, and why others are not stored yet."""
        refused: dict[int, str] = {}
        unfinished: dict[int, Exception] = {}
        for first in range(0, len(spans), BATCH_SPANS):
            try:
                part = self._save(spans[first : first + BATCH_SPANS])
            except UnfinishedError as exc:
                logger.warning("%s could not be stored, and asked for again: %s", many(len(exc.left), "span"), exc)
                part = exc.refused
                unfinished.update((first + position, exc) for position in exc.left)
            refused.update((first + each.position, each.reason) for each in part)
        return refused, unfinished
