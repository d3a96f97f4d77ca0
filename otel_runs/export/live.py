"""What an exporter hears of spans before they have ended: that they have started, and that their runs still live."""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from opentelemetry.sdk.trace import Span as SdkSpan

from otel_runs import attributes, settings
from otel_runs.clock import steady_time_ns
from otel_runs.mapping.facts import facts_from_span
from otel_runs.process import process_identity
from otel_runs.spans.from_sdk import SdkSpans
from otel_runs.spans.span import Span

logger = logging.getLogger(__name__)

MAX_BATCH_SIZE: Final = 2_000
"""Started spans a call of the exporter."""
RETRY_SECONDS: Final = 1.0
"""How long started spans wait after a call that failed. Heartbeats do not wait: the next one says as much."""


@runtime_checkable
class LiveExporter(Protocol):
    """An exporter that takes spans which have not ended. Best effort: neither raises, counts, nor tries again."""

    def prepare(self) -> None:
        """The first span has started: connect, so that it is told in time."""

    def export_started(self, spans: Sequence[Span]) -> bool:
        """Tell of spans that have started; False: not now, the open ones are told again."""
        ...

    def export_heartbeats(self, spans: Sequence[Span]) -> bool:
        """Tell that the processes of these runs live; each run was told before."""
        ...


class _Open(NamedTuple):
    """An open span in both shapes."""

    sdk: SdkSpan
    span: Span
    is_run: bool


class LiveSpans:
    """The open spans of one queue, as far as its exporter must hear of them.

    ``add`` and ``remove`` are the pipeline's, and are one operation on a dictionary each; all else belongs to the
    thread of the queue. A span that ends before that thread looks is never told as started, so that a short step costs
    nothing more, and what waits is never more than what is open.

    Args:
        exporter: that hears.
    """

    def __init__(self, exporter: LiveExporter) -> None:
        self._exporter = exporter
        self._takes_unsampled = getattr(exporter, "takes_unsampled", False)
        self._seconds = heartbeat_seconds()
        self._sdk_spans = SdkSpans()
        self._untold: dict[int, SdkSpan] = {}
        """By span id."""
        self._untold_again: list[weakref.ref[SdkSpan]] = []
        """Those that could not be told the last time."""
        self._runs: list[weakref.ref[SdkSpan]] = []
        """The runs that were told. Weak: what its maker has let go of, without ending it, shows no life any more."""
        self._next_beat = math.inf
        self._not_before = 0.0
        """Both as of ``time.monotonic()``, which stands still while the machine sleeps."""
        self._has_failed = False

    def add(self, span: SdkSpan) -> None:
        """A span has started."""
        self._untold[span.get_span_context().span_id] = span

    def remove(self, span_id: int) -> None:
        """A span has ended."""
        self._untold.pop(span_id, None)

    def seconds_left(self) -> float | None:
        """How long there is nothing to tell, unless a span starts; None: for ever."""
        is_due = self._untold or self._untold_again
        due = min(self._next_beat, self._not_before) if is_due else self._next_beat
        return None if due == math.inf else min(max(0.0, due - time.monotonic()), threading.TIMEOUT_MAX)

    def prepare(self) -> None:
        """The first span has started."""
        try:
            self._exporter.prepare()
        except Exception as exc:  # noqa: BLE001  telemetry never breaks the pipeline, and its thread must go on
            self._note(exc)

    def tell(self) -> None:
        """Tell of the spans that have started since, and of the runs that live if it is time."""
        try:
            if time.monotonic() >= self._not_before and not self._tell_started():
                self._not_before = time.monotonic() + RETRY_SECONDS
            elif time.monotonic() >= self._next_beat:
                self._beat()
        except Exception as exc:  # noqa: BLE001  as above
            self._note(exc)

    def _tell_started(self) -> bool:
        """False: the exporter could not be told."""
        again, self._untold_again = self._untold_again, []
        self._untold.update((sdk.get_span_context().span_id, sdk) for sdk in _open_among(again))
        left = len(self._untold)  # what starts meanwhile comes next time
        while left > 0:
            opened = self._take(min(left, MAX_BATCH_SIZE))
            left -= MAX_BATCH_SIZE
            if not opened:
                continue
            if not self._exporter.export_started([each.span for each in opened]):
                self._untold_again = [weakref.ref(each.sdk) for each in opened]
                return False
            self._runs += [weakref.ref(each.sdk) for each in opened if each.is_run]
            if self._runs and self._seconds:
                self._next_beat = min(self._next_beat, time.monotonic() + self._seconds)
        return True

    def _take(self, most: int) -> list[_Open]:
        """Take some of the spans that are not told, less those that need not be."""
        found = []
        for _ in range(most):
            try:
                _, sdk = self._untold.popitem()
            except KeyError:  # they have ended
                break
            # As at the end: what is not sampled is for those that take all.
            if sdk.end_time is not None or not (sdk.get_span_context().trace_flags.sampled or self._takes_unsampled):
                continue
            opened = self._opened(sdk)
            if opened is not None:
                found.append(opened)
        return found

    def _opened(self, sdk: SdkSpan) -> _Open | None:
        """An open span, if it has a row and can be read: the SDK lets users put anything into a span."""
        try:
            span = self._span(sdk)
            facts = facts_from_span(span)
        except Exception as exc:  # noqa: BLE001  at no other span's expense; its end will be counted, and told
            logger.debug("Open span %r cannot be read: %r", sdk.name, exc)
            return None
        if facts.run is not None:
            return _Open(sdk, _signed(span), is_run=True)
        return None if facts.model_run is None else _Open(sdk, span, is_run=False)

    def _beat(self) -> None:
        runs = _open_among(self._runs)
        self._runs = [weakref.ref(sdk) for sdk in runs]
        self._next_beat = time.monotonic() + self._seconds if runs else math.inf
        if runs:
            opened = [self._opened(sdk) for sdk in runs]
            self._exporter.export_heartbeats([each.span for each in opened if each is not None])

    def _span(self, sdk: SdkSpan) -> Span:
        """An open span as it is now."""
        # It may end while it is read.
        return self._sdk_spans.span_from_sdk(sdk)._replace(
            end_ns=None, status="UNSET", status_message=None, heartbeat_ns=steady_time_ns() if self._seconds else None
        )

    def _note(self, exc: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            logger.warning("An exporter could not be told of open spans: %r. Not said again.", exc)


def _open_among(spans: list[weakref.ref[SdkSpan]]) -> list[SdkSpan]:
    return [sdk for sdk in (each() for each in spans) if sdk is not None and sdk.end_time is None]


def _signed(span: Span) -> Span:
    """The span of a run, with the process that it is in: others on the machine need not guess then whether it lives."""
    identity = process_identity()
    return span if identity is None else span._replace(attributes={**span.attributes, attributes.PROCESS: identity})


def heartbeat_seconds() -> float:
    """Seconds between two heartbeats, 0 for none; a bad setting is logged and the default taken."""
    return settings.value_or_default(settings.HEARTBEAT)
