"""An exporter to a Collector that is away now and then, where nothing else keeps the spans: with its own spool."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_runs.errors import OtelRunsError, SettingsError
from otel_runs.export.exporter import instrumentation_suppressed
from otel_runs.export.otlp import OtlpExporter, otlp_exporter
from otel_runs.export.spooling import spool_of_endpoint
from otel_runs.spans.from_sdk import SdkSpans
from otel_runs.spans.span import Span
from otel_runs.spans.to_sdk import sdk_span
from otel_runs.spool.keeper import Keeper
from otel_runs.spool.replay import Save
from otel_runs.spool.spool import Quarantined, Spool

logger = logging.getLogger(__name__)


Send = Callable[[Sequence[ReadableSpan]], bool]

_MOST_FAILURES: Final = 64
_AWAY: Final = "the OTLP endpoint takes no spans now"
_REFUSED: Final = "The OTLP endpoint refuses this span, and takes others."


class EndpointError(OtelRunsError):
    """The endpoint takes no spans now."""


class SpooledExporter(SpanExporter):
    """Sends spans to an endpoint; keeps those that it does not take, and sends them when it takes spans again.

    OpenTelemetry's exporter has its own retries, and does not say why it failed. So what fails is kept, whatever the
    reason; what fails again, while its neighbours are taken, is put in quarantine.

    Args:
        make: makes the exporter behind it; a replay, in a thread of its own, takes another one.
        spool: of the endpoint.
    """

    def __init__(self, make: Callable[[], OtlpExporter], spool: Spool) -> None:
        self._exporter = make()
        self._make = make
        self._keeper = Keeper(spool, self._opening)
        self._process = os.getpid()
        self._has_told = False
        self._taken: ReadableSpan | None = None
        """The last span that the endpoint took."""

    @property
    def is_spooling(self) -> bool:
        """Yes."""
        return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ended spans, or keep them; SUCCESS only if they were taken."""
        self._mind_fork()
        result = _sent(self._exporter, spans)
        if result is SpanExportResult.SUCCESS:
            self._has_told = False
            self._taken = spans[-1] if spans else self._taken
            self._keeper.note_success()
        else:
            self.spool(spans)
            self._tell()
        return result

    def spool(self, spans: Sequence[ReadableSpan], *, patience: float | None = None) -> bool:
        """Keep spans for later; False if another thread writes for longer than ``patience``: nothing was done."""
        sdk_spans = SdkSpans()
        return self._keeper.keep([sdk_spans.span_from_sdk(span) for span in spans], patience=patience)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the exporter behind it."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Replay for a moment longer, if that has begun, and close."""
        self._keeper.close()
        self._exporter.shutdown()

    def prepare(self) -> None:
        """As the exporter behind it."""
        self._exporter.prepare()

    def export_started(self, spans: Sequence[Span]) -> bool:
        """As the exporter behind it: not kept, since it is told again."""
        return self._exporter.export_started(spans)

    def export_heartbeats(self, spans: Sequence[Span]) -> bool:
        """As the exporter behind it."""
        return self._exporter.export_heartbeats(spans)

    def _mind_fork(self) -> None:
        if self._process != os.getpid():
            self._process = os.getpid()
            self._keeper.start_afresh()

    def _tell(self) -> None:
        if not self._has_told:
            self._has_told = True
            folder = self._keeper.spool.folder
            logger.error("The OTLP endpoint took no spans. They are kept in %s until it does; not said again.", folder)

    @contextmanager
    def _opening(self) -> Generator[Save]:
        if self._taken is None:
            raise EndpointError(_AWAY)
        with into_endpoint(self._make, self._taken) as save:
            yield save


@contextmanager
def into_endpoint(make: Callable[[], OtlpExporter], witness: ReadableSpan | None = None) -> Generator[Save]:
    """A way to an endpoint for a replay.

    Args:
        make: makes the exporter that is used.
        witness: a span that the endpoint took before; None: the last of the first that are sent must be taken.
    """
    exporter = make()
    taken = witness

    def send(spans: Sequence[ReadableSpan]) -> bool:
        return _sent(exporter, spans) is SpanExportResult.SUCCESS

    def save(spans: Sequence[Span]) -> list[Quarantined]:
        nonlocal taken
        ended = [span for span in spans if span.end_ns is not None]
        sdk_spans = [sdk_span(span) for span in ended]
        refused = refused_by(send, sdk_spans, taken or sdk_spans[-1]) if sdk_spans else []
        taken = next((span for position, span in enumerate(sdk_spans) if position not in refused), taken)
        return [Quarantined(ended[position], _REFUSED) for position in refused]

    try:
        with instrumentation_suppressed():
            yield save
    finally:
        exporter.shutdown()


def _sent(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> SpanExportResult:
    """The exporter's answer; before 1.30 it raised where nobody listened at the endpoint."""
    try:
        return exporter.export(spans)
    except Exception as exc:  # noqa: BLE001  why it failed makes no difference
        logger.debug("An exporter failed: %s", exc)
        return SpanExportResult.FAILURE


def refused_by(send: Send, spans: Sequence[ReadableSpan], witness: ReadableSpan) -> list[int]:
    """Send spans, and find those that are refused though others are taken.

    Args:
        send: whether the endpoint took them; to send a span twice changes nothing.
        spans: ended.
        witness: a span that the endpoint took before. Taken again, it shows that the endpoint is not away.

    Returns:
        The positions of those that are refused.

    Raises:
        EndpointError: it takes nothing, or bad spans are all over: to be tried again another time.
    """
    refused: list[int] = []
    failures = 0
    parts = [range(len(spans))]
    while parts:
        part = parts.pop()
        if not part or send([spans[position] for position in part]):
            continue
        failures += 1
        if failures > _MOST_FAILURES or (failures == 1 and not send([witness])):
            raise EndpointError(_AWAY)
        if len(part) == 1:
            refused += part
        else:
            middle = len(part) // 2
            parts += [part[middle:], part[:middle]]
    if refused and not send([witness]):
        raise EndpointError(_AWAY)
    return refused


def spooled_otlp_exporter(endpoint: str | None) -> SpanExporter:
    """An OTLP exporter with a spool; without one where that is off or set to what cannot be used."""
    try:
        spool = spool_of_endpoint(endpoint)
    except SettingsError as exc:
        logger.error("%s Spans that the OTLP endpoint does not take will be lost.", exc)  # noqa: TRY400  it says it all
        spool = None
    return otlp_exporter(endpoint) if spool is None else SpooledExporter(lambda: otlp_exporter(endpoint), spool)
