"""The queue between the pipeline and an exporter.

The SDK's ``BatchSpanProcessor`` is made for services; a pipeline needs more at three points:

- A burst: its queue of 2,048 lost half of a burst of 5,100 spans.
- The end: before SDK 1.31 its shutdown waits for a hanging backend without limit, and later its flush does.
- Workers: a pool ends its processes with SIGTERM or ``os._exit``, and no exit handler runs. So in a child process the
  end of the outermost span waits for the write.

And an exporter that wants to (``LiveExporter``) hears from its thread of the spans that are open, too.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from otel_runs import settings
from otel_runs.children import call_in_child
from otel_runs.counters import counters
from otel_runs.export.exporter import instrumentation_suppressed
from otel_runs.export.live import LiveExporter, LiveSpans
from otel_runs.export.queue_log import QueueLog
from otel_runs.export.spooling import SpoolsSpans
from otel_runs.export.workers import is_worker
from otel_runs.settings import is_strict

logger = logging.getLogger(__name__)

MAX_QUEUE_SIZE: Final = 65_536
"""Spans; some 70 MB of short steps when the database stands still."""
MAX_BATCH_SIZE: Final = 2_000
"""Spans a transaction; larger ones gain nothing (133,000 rows a second against 127,000 at 512)."""
_SPILLED_AT_ONCE: Final = 64
"""Spans that a full queue spools while the pipeline waits: a millisecond."""
_SPILL_PATIENCE: Final = 0.002
"""Seconds to wait for another thread that writes to the spool."""
_LAST_SPILL_PATIENCE: Final = 2.0
"""As above, at the end of the process."""
SCHEDULE_DELAY: Final = 0.2
"""Seconds that a span waits, at most, for company: started ones are to be in the tables within half a second."""


class Guard(Protocol):
    """Who sees to it that a process which is ended does not lose what it has in hand."""

    def hold(self, holder: object) -> None:
        """From now on the holder has something to lose."""

    def release(self, holder: object) -> None:
        """From now on it has nothing to lose."""


class RunsSpanProcessor(SpanProcessor):
    """Queues ended spans and hands them to an exporter in batches, from a thread of its own.

    The pipeline never waits for the exporter, except at the end and for a bounded time. When the queue is full the
    oldest spans make room, because a run's own span comes last: they go to the exporter's spool, and so does what is
    left at the end. Only where that cannot be are spans dropped, which is counted and told. While no span starts or
    ends, and no run is open, the thread sleeps.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        max_queue_size: int = MAX_QUEUE_SIZE,
        max_batch_size: int = MAX_BATCH_SIZE,
        schedule_delay: float = SCHEDULE_DELAY,
    ) -> None:
        """Start the thread.

        Args:
            exporter: belongs to the processor, which shuts it down.
            max_queue_size: spans.
            max_batch_size: spans a call of the exporter, at most.
            schedule_delay: seconds that the first span of a batch waits for others.
        """
        self._exporter = exporter
        self._takes_unsampled = getattr(exporter, "takes_unsampled", False)
        self._max_queue_size = max_queue_size
        self._max_batch_size = max_batch_size
        self._schedule_delay = schedule_delay
        self._is_child = is_worker()
        self.guard: Guard | None = None
        """Told, in a worker, when there is something to lose, and when there is nothing any more."""
        self._closed = False
        self._start_empty()
        self._ensure_worker()
        call_in_child(self, RunsSpanProcessor._become_child)

    def _start_empty(self) -> None:
        """The state of a processor that has seen nothing yet: a new one, or one in a forked child."""
        self._queue: deque[ReadableSpan | threading.Event] = deque()
        """Ended spans; an event asks to be told when all before it are exported."""
        self._in_hand: list[ReadableSpan] = []
        """The spans that the exporter is busy with."""
        self._live = LiveSpans(self._exporter) if isinstance(self._exporter, LiveExporter) else None
        self._stirred = threading.Event()
        """A span has started or ended."""
        self._wake = threading.Event()
        """There is no time to wait for more."""
        self._starting = threading.Lock()
        self._worker: threading.Thread | None = None
        self._error: Exception | None = None
        self._is_stalled = False
        self._open_spans: WeakValueDictionary[int, Span] = WeakValueDictionary()
        """In a worker, by span id. Weak: what its maker has let go of, without ending it, is nothing to wait for."""
        self._log = QueueLog()

    @property
    def span_exporter(self) -> SpanExporter:
        """The exporter behind the queue, by the name that the SDK's processors use."""
        return self._exporter

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  the SDK's signature
        """Let the exporter hear of the span, if it wants to and the span is still open when its time has come."""
        if self._live is not None and not self._closed:
            self._live.add(span)
            if not self._stirred.is_set():
                self._stirred.set()
            if self._worker is None:  # in a forked child
                self._ensure_worker()
        if self._is_child:
            self._open_in_child(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span if the exporter takes it; wait for the write only where a child might be gone right after."""
        context = span.context
        if context is None:
            return
        if self._is_child:
            self._open_spans.pop(context.span_id, None)
        if not (self._takes_unsampled or context.trace_flags.sampled):
            self._release_if_idle()
            return
        if self._live is not None:
            self._live.remove(context.span_id)
        if self._closed:
            counters.add(dropped=1)
            self._log.say_late()
            return
        self._enqueue(span)
        if self._is_child:
            self._flush_after_outermost(span)
            self._release_if_idle()

    def _enqueue(self, span: ReadableSpan) -> None:
        if len(self._queue) >= self._max_queue_size:
            self._make_room()
        _lighten(span)
        self._queue.append(span)
        if not self._stirred.is_set():
            self._stirred.set()
        if self._worker is None:
            self._ensure_worker()
        if len(self._queue) >= self._max_batch_size:
            self._wake.set()

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Wait until all spans that have ended so far are exported, and those that are open told.

        Args:
            timeout_millis: how long to wait, at most; without it ``OTEL_RUNS_FLUSH_TIMEOUT``.

        Returns:
            False if the time ran out. Whether the exporter succeeded is in ``otel_runs.stats()``.

        Raises:
            StoreError: only with ``OTEL_RUNS_STRICT=true``: an export since the last flush failed.
        """
        if self._worker is None or self._closed:
            return not self._queue
        done = threading.Event()
        self._queue.append(done)
        self._hurry()
        wanted = flush_timeout() if timeout_millis is None else timeout_millis / 1000
        is_done = done.wait(min(wanted, threading.TIMEOUT_MAX))
        self._raise_if_strict()
        return is_done

    def shutdown(self) -> None:
        """Export what is left, within ``OTEL_RUNS_FLUSH_TIMEOUT``, and end the thread. May be called twice."""
        self.start_shutdown()
        self.finish_shutdown(time.monotonic() + flush_timeout())

    def start_shutdown(self) -> None:
        """Take no more spans and let the thread export the rest; waits for nothing."""
        self._closed = True
        self._hurry()

    def finish_shutdown(self, deadline: float) -> None:
        """Wait for the thread until ``deadline`` (of ``time.monotonic()``), then leave it and count what it has left.

        Raises:
            StoreError: only with ``OTEL_RUNS_STRICT=true``: an export failed.
        """
        worker, self._worker = self._worker, None
        if worker is None:
            return
        worker.join(min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX))
        # Also of a thread that is gone: what ended in its last moment, or all since it died of what nobody foresaw.
        self._keep_what_is_left(self._in_hand if worker.is_alive() else [])
        self._raise_if_strict()

    def _keep_what_is_left(self, in_hand: list[ReadableSpan]) -> None:
        # What is in the worker's hands may be stored yet; to store it twice changes nothing.
        left = [*in_hand, *_spans_among(self._oldest(len(self._queue)))]
        if not left:
            return
        reason = f"not stored in time ({counters.read().last_error or 'no answer'})"
        if self._spool(left, patience=_LAST_SPILL_PATIENCE):
            counters.add(received=-len(in_hand))  # the exporter counted them when it was given them
            self._log.say_spooled_at_the_end(len(left), reason)
        else:
            counters.add(dropped=len(left))
            self._log.say_dropped(len(left), reason)

    def _hurry(self) -> None:
        self._wake.set()
        self._stirred.set()

    def _open_in_child(self, span: Span) -> None:
        """Remember the span, to know the outermost one when it ends."""
        if self.guard is not None and not self._closed:
            self.guard.hold(self)
        self._open_spans[span.get_span_context().span_id] = span

    def _flush_after_outermost(self, span: ReadableSpan) -> None:
        if span.parent is not None and span.parent.span_id in self._open_spans:
            return
        if not self._is_stalled:
            # A backend that hangs is waited for once, not after every task.
            self._is_stalled = not self.force_flush()

    def _release_if_idle(self) -> None:
        if self._is_child and self.guard is not None and not (self._open_spans or self._is_stalled):
            self.guard.release(self)

    def _make_room(self) -> None:
        """Spool some of the oldest spans, in a millisecond or so; where nothing can be spooled, drop the oldest."""
        spills = isinstance(self._exporter, SpoolsSpans) and self._exporter.is_spooling
        self._log.say_full(self._max_queue_size, "spooled" if spills else "dropped")
        items = self._oldest(_SPILLED_AT_ONCE if spills else 1)
        spans = _spans_among(items)
        if not self._spool(spans, patience=_SPILL_PATIENCE):
            if spills and len(self._queue) < 2 * self._max_queue_size:
                self._queue.extendleft(reversed(items))  # another thread is writing; soon it will not be
                return
            counters.add(dropped=len(spans))
        for item in items:
            if isinstance(item, threading.Event):
                item.set()

    def _oldest(self, most: int) -> list[ReadableSpan | threading.Event]:
        found: list[ReadableSpan | threading.Event] = []
        with suppress(IndexError):  # the worker was faster
            while len(found) < most:
                found.append(self._queue.popleft())
        return found

    def _spool(self, spans: list[ReadableSpan], *, patience: float | None = None) -> bool:
        """Keep spans on disk instead of exporting them; False if that cannot be."""
        exporter = self._exporter
        try:
            return not spans or (isinstance(exporter, SpoolsSpans) and exporter.spool(spans, patience=patience))
        except Exception:  # spans that no SDK makes
            logger.exception("Spans could not be spooled.")
            return False

    def _raise_if_strict(self) -> None:
        error, self._error = self._error, None
        if error is not None and is_strict():
            raise error

    def _ensure_worker(self) -> None:
        with self._starting:
            if self._worker is not None:
                return
            worker = threading.Thread(target=self._work, name="otel_runs.export", daemon=True)
            try:
                worker.start()
            except RuntimeError:  # from Python 3.12 on, an interpreter that shuts down starts no threads
                self._drain()
                return
            self._worker = worker
            if self._is_child:
                _call_at_multiprocessing_exit(self)

    def _work(self) -> None:
        if self._live is not None:
            self._stirred.wait()
            self._live.prepare()
            self._wake.set()  # that took longer than any company
        while True:
            self._await_spans()
            is_last = self._closed
            self._drain()
            if is_last:
                self._exporter.shutdown()
                return

    def _await_spans(self) -> None:
        """Sleep while there is nothing to do; then let a few spans come together."""
        if self._stirred.wait(None if self._live is None else self._live.seconds_left()):
            self._wake.wait(self._schedule_delay)
        # Before the queue is looked at: what comes from now on stirs again.
        self._stirred.clear()
        self._wake.clear()

    def _drain(self) -> None:
        self._tell_of_open_spans()
        batch: list[ReadableSpan] = []
        while True:
            try:
                item = self._queue.popleft()
            except IndexError:
                break
            if isinstance(item, threading.Event):
                self._export(batch)
                batch = []
                item.set()
                self._is_stalled = False
                continue
            batch.append(item)
            if len(batch) >= self._max_batch_size:
                self._export(batch)
                batch = []
        self._export(batch)

    def _export(self, batch: list[ReadableSpan]) -> None:
        if not batch:
            return
        self._in_hand = batch
        try:
            with instrumentation_suppressed():
                self._exporter.export(batch)
        except Exception as exc:  # noqa: BLE001  told to the pipeline by the next flush, if it wants to know
            self._error = exc
            if not is_strict():
                counters.add_error(exc)
                self._log.say_failed(exc)
        except BaseException as exc:
            # SystemExit, or a panic of what is written in Rust: the thread would be gone, and all later spans with it.
            if threading.current_thread() is threading.main_thread():
                raise
            counters.add(dropped=len(batch))
            counters.add_error(exc)
            self._log.say_failed(exc)
        else:
            self._log.note_success()
        self._in_hand = []
        if len(self._queue) <= self._max_queue_size // 2:
            self._log.note_half_empty()
        self._tell_of_open_spans()

    def _tell_of_open_spans(self) -> None:
        """Also between two batches: a long queue must not silence the heartbeats."""
        if self._live is not None and not self._closed:
            with instrumentation_suppressed():
                self._live.tell()

    def _become_child(self) -> None:
        self._is_child = True
        self._start_empty()


def _lighten(span: Any) -> None:
    """Let go of the SDK's lists of events and links where a span has none.

    Each is a deque and a lock: two thirds of what a step weighs while it waits (3.0 KB, and 1.1 without), half of the
    objects that Python's garbage collector counts. Lists take their place, as processors of others may see the span
    after us. Where an SDK keeps them in another way, they stay.
    """
    try:  # not suppress(), which takes 0.3 us, all of this 0.1
        if not (span._events._dq or span._events.dropped):  # noqa: SLF001  the SDK offers no lighter span
            span._events = []  # noqa: SLF001  as above
        if not (span._links._dq or span._links.dropped):  # noqa: SLF001  as above
            span._links = []  # noqa: SLF001  as above
    except AttributeError:
        pass


def _spans_among(items: list[ReadableSpan | threading.Event]) -> list[ReadableSpan]:
    return [item for item in items if not isinstance(item, threading.Event)]


def flush_timeout() -> float:
    """Seconds that the end of a pipeline may wait, at most; a bad setting is logged and the default taken."""
    return settings.value_or_default(settings.FLUSH_TIMEOUT)


def _call_at_multiprocessing_exit(processor: RunsSpanProcessor) -> None:
    """Shut down when a child of multiprocessing ends by itself.

    Before Python 3.13 such a child runs no atexit handlers, only these finalizers; and it forgets those that were
    registered before the fork.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, processor.shutdown, exitpriority=0)
