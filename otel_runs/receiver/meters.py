"""What the server counts of itself: OpenTelemetry metrics, and a line in its log.

The metrics go nowhere unless the user asks for an exporter (server/own_metrics.py).
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from opentelemetry import metrics

from otel_runs.receiver.answers import answer_to
from otel_runs.receiver.request import Outcome
from otel_runs.receiver.room import Room

SCOPE: Final = "otel_runs.server"


class Counts(NamedTuple):
    """What came in since the server started, and what became of it."""

    requests: int = 0
    spans_stored: int = 0
    spans_refused: int = 0
    """Spans that cannot be stored; their senders were told why."""
    requests_refused: int = 0
    """Requests that cannot be read, are too large or may not come in."""
    requests_put_off: int = 0
    """Requests whose senders were asked to send them again: the queue was full, or the database away."""
    answer_seconds: float = 0.0
    """From the last byte of a request to its answer, of all that were answered with success, added up."""


class Meters:
    """Counts requests and spans; safe from several threads.

    Args:
        room: that requests take.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._counts = Counts()
        meter = metrics.get_meter(SCOPE)
        self._requests = meter.create_counter(
            "otel_runs.server.requests", "{request}", "Export requests, by protocol and outcome."
        )
        self._spans = meter.create_counter(
            "otel_runs.server.spans", "{span}", "Spans that were stored, and that cannot be stored."
        )
        self._request_seconds = meter.create_histogram(
            "otel_runs.server.request.duration", "s", "From the last byte of a request to its answer."
        )
        self._batch_seconds = meter.create_histogram(
            "otel_runs.server.batch.duration", "s", "The requests that are written together, from bytes to the disk."
        )
        meter.create_observable_up_down_counter(
            "otel_runs.server.queue.size",
            [lambda _options: [metrics.Observation(self.queue_bytes)]],
            "By",
            "Requests that arrive, wait and are written.",
        )

    @property
    def queue_bytes(self) -> int:
        """Of requests that arrive, wait and are written, now."""
        return self._room.taken

    @property
    def counts(self) -> Counts:
        """As they are now."""
        return self._counts

    def add_outcome(self, protocol: str, outcome: Outcome, seconds: float) -> None:
        """Count a request that was answered with success."""
        self._request_seconds.record(seconds, {"protocol": protocol})
        self._requests.add(1, {"protocol": protocol, "outcome": "partial" if outcome.refused else "stored"})
        self._spans.add(outcome.stored, {"outcome": "stored"})
        if outcome.refused:
            self._spans.add(outcome.refused, {"outcome": "refused"})
        with self._lock:
            now = self._counts
            self._counts = now._replace(
                requests=now.requests + 1,
                spans_stored=now.spans_stored + outcome.stored,
                spans_refused=now.spans_refused + outcome.refused,
                answer_seconds=now.answer_seconds + seconds,
            )

    def add_failure(self, protocol: str, error: BaseException) -> None:
        """Count a request that failed."""
        is_put_off = answer_to(error).retry_seconds is not None
        self._requests.add(1, {"protocol": protocol, "outcome": "put_off" if is_put_off else "refused"})
        with self._lock:
            now = self._counts
            self._counts = now._replace(
                requests=now.requests + 1,
                requests_put_off=now.requests_put_off + is_put_off,
                requests_refused=now.requests_refused + (not is_put_off),
            )

    def add_batch(self, seconds: float) -> None:
        """Time a batch."""
        self._batch_seconds.record(seconds)
