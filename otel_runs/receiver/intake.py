"""The queue between the receivers and the database: group commit.

While a batch is written, requests gather; the next batch takes them all. So an acknowledgement, which waits for the
commit and the disk, costs each of a hundred clients a hundredth of it.

What arrives and waits is bounded by its bytes as they were sent (room.py). Decompression, decoding and writing happen
in the writer's thread or in its process, one batch at a time: no number of clients makes the server larger.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple

from otel_runs.errors import StoppingError
from otel_runs.receiver.meters import Meters
from otel_runs.receiver.request import Outcome, Request
from otel_runs.receiver.room import Room, Share
from otel_runs.receiver.storing import Result

_BATCH_BYTES: Final = 786_432
"""Of the bodies in a batch, as they were sent: some thousand spans; one may be larger. A third more is as fast, but two
workers and the server then take 5 MB more (bench/receivers.py)."""
_BATCH_REQUESTS: Final = 512
"""Requests a batch, at most: those without spans must be answered, too."""
_REQUEST_BYTES: Final = 4_096
"""What a request takes in memory besides its body."""

Store = Callable[[Sequence[Request]], Sequence[Result]]


class _Waiting(NamedTuple):
    """A request in the queue, and who waits for it."""

    request: Request
    future: Future[Outcome]
    share: Share
    """Of the room."""


class Intake:
    """Takes requests from any thread, and answers each after its spans are committed.

    Args:
        store: stores a batch and returns what became of each request; ``Storing.store``, here or in another process.
        room: for all requests that wait or are being written.
        meters: told of everything.
        writers: batches that are written at a time.
        least_bytes: of the bodies in a batch that is begun while another one is written; less waits for company.
    """

    def __init__(self, store: Store, *, room: Room, meters: Meters, writers: int = 1, least_bytes: int = 0) -> None:
        self._store = store
        self._room = room
        self._meters = meters
        self._least_bytes = least_bytes
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        """Of their bodies."""
        self._writing: list[list[_Waiting]] = []
        """Batches."""
        self._changed = threading.Condition()
        self._is_stopping = False
        self._writers = [
            threading.Thread(target=self._write, name=f"otel_runs writer {number}", daemon=True)
            for number in range(1, writers + 1)
        ]

    def start(self) -> None:
        """Begin to write."""
        for writer in self._writers:
            writer.start()

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
            Its outcome, in time, or an error: of those of ``Result``, or StoppingError.

        Raises:
            OverloadedError: the queue is full.
            StoppingError: the server takes no more work.
        """
        waiting = _Waiting(request, Future(), self._room.share())
        with self._changed:
            self._require_work()
            waiting.share.add(len(request.body) + _REQUEST_BYTES)
            self._waiting.append(waiting)
            self._waiting_bytes += len(request.body)
            self._changed.notify()
        return waiting.future

    def stop(self, timeout: float) -> bool:
        """Take nothing more, write what waits, and answer it.

        Args:
            timeout: seconds to write; what is not written then, also by a writer that hangs, is answered with
                StoppingError, not dropped in silence.

        Returns:
            Whether everything was written.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for writer in self._writers:
            writer.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            left = [*self._waiting, *(waiting for batch in self._writing for waiting in batch)]
            self._waiting.clear()
            for batch in self._writing:
                batch.clear()  # their writer, should it go on, has nobody to answer
            self._waiting_bytes = 0
        for waiting in left:
            self._answer(waiting, StoppingError("The server had to stop before this was written; send it again."))
        return not left and not any(writer.is_alive() for writer in self._writers)

    # A writer's thread.

    def _write(self) -> None:
        while batch := self._next_batch():
            start = time.perf_counter()
            try:
                results = list(self._store([waiting.request for waiting in batch]))
            except Exception as exc:  # noqa: BLE001  the writer goes on, whatever came; whoever waits is told
                results = [exc] * len(batch)
            self._meters.add_batch(time.perf_counter() - start)
            with self._changed:
                self._writing = [other for other in self._writing if other is not batch]
            while batch:
                # Taken out, with the body of its request: the next batch may be long in coming.
                self._answer(batch.pop(), results.pop())

    def _next_batch(self) -> list[_Waiting]:
        """What waits, as far as it makes one batch; waits for enough of it. Nothing if the server stops."""
        batch: list[_Waiting] = []
        with self._changed:
            while not self._is_enough() and not self._is_stopping:
                self._changed.wait()
            size = 0
            while self._waiting and size < _BATCH_BYTES and len(batch) < _BATCH_REQUESTS:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].request.body)
            self._waiting_bytes -= size
            if batch:
                self._writing.append(batch)
        return batch

    def _is_enough(self) -> bool:
        """Whether what waits is worth a batch of its own; whoever writes looks again when it is done."""
        return bool(self._waiting) and (not self._writing or self._waiting_bytes >= self._least_bytes)

    def _answer(self, waiting: _Waiting, result: Result) -> None:
        # Room comes first: who is answered may send the next request at once.
        waiting.share.end()
        if not waiting.future.set_running_or_notify_cancel():
            return  # who waited has gone
        if isinstance(result, Exception):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)
