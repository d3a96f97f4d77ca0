"""The queue between the receivers and the database, with one writer: group commit.

While a transaction is written, requests gather; the next transaction takes them all. So an acknowledgement, which waits
for the commit and the disk, costs each of a hundred clients a hundredth of it.

What arrives and waits is bounded by its bytes as they were sent (room.py). Decompression, decoding and writing happen
in the writer's thread, one batch at a time: no number of clients makes the server larger.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple

from otel_runs.errors import StoppingError, StoreError
from otel_runs.ingest.splitting import RefusedSpan
from otel_runs.receiver.meters import Meters
from otel_runs.receiver.request import Outcome, Request, outcome_of
from otel_runs.receiver.room import Room
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import Span

logger = logging.getLogger(__name__)

BATCH_SPANS: Final = 4_096
"""Spans a transaction, at most; a larger request takes several."""
_BATCH_REQUESTS: Final = 512
"""Requests a transaction, at most: those without spans must be answered, too."""
_REQUEST_BYTES: Final = 4_096
"""What a request takes in memory besides its body."""

Save = Callable[[Sequence[Span]], Sequence[RefusedSpan]]


class _Waiting(NamedTuple):
    """A request in the queue, and who waits for it."""

    request: Request
    future: Future[Outcome]

    @property
    def bytes(self) -> int:
        return len(self.request.body) + _REQUEST_BYTES


class _Read(NamedTuple):
    """A request whose body could be read, and is no longer held."""

    future: Future[Outcome]
    bytes: int
    """That it takes of the room until it is answered."""
    spans: list[Span]
    refused: list[str]


class Intake:
    """Takes requests from any thread, and answers each after its spans are committed.

    Args:
        save: stores spans and returns those that cannot be stored; ``save_splitting``, as a rule.
        limits: what is read of one span at most.
        most_bytes: of one request, after decompression.
        room: for all requests that wait or are being written.
        meters: told of everything.
    """

    def __init__(self, save: Save, limits: Limits, *, most_bytes: int, room: Room, meters: Meters) -> None:
        self._save = save
        self._limits = limits
        self._most_bytes = most_bytes
        self._room = room
        self._meters = meters
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._is_stopping = False
        self._writer = threading.Thread(target=self._write, name="otel_runs writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def require_room(self, bytes_: int = 0) -> None:
        """Say whether a request of this size would be taken now.

        Raises:
            OverloadedError: the queue is full.
            StoppingError: the server takes no more work.
        """
        self._require_work()
        self._room.require(bytes_ + _REQUEST_BYTES)

    def _require_work(self) -> None:
        if self._is_stopping:
            msg = "The server is stopping; send the request again."
            raise StoppingError(msg)

    def submit(self, request: Request) -> Future[Outcome]:
        """Queue a request.

        Returns:
            Its outcome, in time. Errors: DecodeError, TooLargeError and UnsupportedError, which are the request's
            fault; StoreError and StoppingError, which are not: a part of it may be stored all the same.

        Raises:
            OverloadedError: the queue is full.
            StoppingError: the server takes no more work.
        """
        waiting = _Waiting(request, Future())
        with self._changed:
            self._require_work()
            self._room.take(waiting.bytes)
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def stop(self, timeout: float) -> bool:
        """Take nothing more, write what waits, and answer it.

        Args:
            timeout: seconds to write; what waits still then is answered with StoppingError, not dropped in silence.

        Returns:
            Whether everything was written.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._writer.join(timeout)
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
        for waiting in left:
            self._fail(waiting, StoppingError("The server had to stop before this was written; send it again."))
        return not left and not self._writer.is_alive()

    # The writer's thread.

    def _write(self) -> None:
        while (first := self._next(wait=True)) is not None:
            batch = self._read(first)
            for _ in range(_BATCH_REQUESTS - 1):
                if sum(len(read.spans) for read in batch) >= BATCH_SPANS or (more := self._next()) is None:
                    break
                batch += self._read(more)
            try:
                self._commit(batch)
            except Exception as exc:  # noqa: BLE001  the writer goes on, whatever came
                self._fail_all(batch, exc)

    def _next(self, *, wait: bool = False) -> _Waiting | None:
        with self._changed:
            while wait and not self._waiting and not self._is_stopping:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _read(self, waiting: _Waiting) -> list[_Read]:
        """The request with its spans; nothing if it was answered, because it cannot be read."""
        try:
            decoded = waiting.request.decode(self._limits, self._most_bytes)
        except Exception as exc:  # noqa: BLE001  whoever waits is told
            self._fail(waiting, exc)
            return []
        return [_Read(waiting.future, waiting.bytes, decoded.spans, decoded.refused)]

    def _commit(self, batch: Sequence[_Read]) -> None:
        """Store all spans, then answer."""
        spans = [span for read in batch for span in read.spans]
        refused: dict[int, str] = {}
        for first in range(0, len(spans), BATCH_SPANS):
            start = time.perf_counter()
            part = self._save(spans[first : first + BATCH_SPANS])
            self._meters.add_commit(time.perf_counter() - start)
            refused.update((first + each.position, each.reason) for each in part)
        first = 0
        for read in batch:
            end = first + len(read.spans)
            reasons = [refused[position] for position in range(first, end) if position in refused] if refused else []
            self._answer(read, outcome_of(len(read.spans) - len(reasons), [*read.refused, *reasons]))
            first = end

    def _fail_all(self, batch: Sequence[_Read], error: Exception) -> None:
        spans = sum(len(read.spans) for read in batch)
        if isinstance(error, StoreError):
            logger.warning("%d spans could not be stored and are asked for again: %s", spans, error)
        else:
            logger.error("%d spans could not be stored; this is a defect.", spans, exc_info=error)
        for read in batch:
            self._fail(read, error)

    # Room comes first: who is answered may send the next request at once.

    def _answer(self, read: _Read, outcome: Outcome) -> None:
        self._room.give_back(read.bytes)
        if read.future.set_running_or_notify_cancel():  # who waited may have gone
            read.future.set_result(outcome)

    def _fail(self, asked: _Waiting | _Read, error: Exception) -> None:
        self._room.give_back(asked.bytes)
        if asked.future.set_running_or_notify_cancel():
            asked.future.set_exception(error)
