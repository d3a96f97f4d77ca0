"""Spans to a Collector or Jaeger, over OTLP; and beside them, as log records, what is open or not sampled."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_runs.amounts import many
from otel_runs.counters import counters
from otel_runs.export.live import heartbeat_seconds
from otel_runs.export.logs_service import Answer, LogsOverGrpc, LogsOverHttp, LogsService, Options
from otel_runs.export.unsampled import UnsampledSpans, divided
from otel_runs.mapping.vocabulary import is_read
from otel_runs.spans.span import Span
from otel_runs.spans.to_otlp_logs import request_from_spans
from otel_runs.spans.told import Tell, heartbeat_from_span, start_from_span

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 10.0
"""How long an endpoint that did not take live records is left alone."""


class OtlpExporter(SpanExporter):
    """An OTLP exporter whose endpoint also hears of open spans, if it takes logs.

    Spans are the business of OpenTelemetry's own exporter. What is open is told in one attempt of two seconds at most:
    it must not hold up spans.

    Args:
        make: makes OpenTelemetry's exporter; called again in a forked child, which must not write to the connection
            of its parent.
        logs: where log records go; None: nowhere.
        takes_unsampled: no database in this process has the spans. So those that are not sampled are sent, too, as log
            records, and what becomes of spans is counted.
    """

    def __init__(
        self, make: Callable[[], SpanExporter], logs: LogsService | None, *, takes_unsampled: bool = False
    ) -> None:
        self._make = make
        self._process = os.getpid()
        self._exporter = make()
        # Without heartbeats nobody could tell a run that was killed; so none is told to whoever waits for them.
        self._logs = logs if heartbeat_seconds() else None
        self._not_before = 0.0
        self._counts = takes_unsampled
        self._unsampled = UnsampledSpans(logs) if takes_unsampled and logs is not None else None

    @property
    def takes_unsampled(self) -> bool:
        """Whether spans that are not sampled go anywhere from here."""
        return self._unsampled is not None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ended spans. What is not taken is lost."""
        sampled, unsampled = divided(spans)
        is_sent = self.export_sampled(sampled) is SpanExportResult.SUCCESS if sampled or not unsampled else True
        answer = self.export_unsampled(unsampled) if unsampled else Answer.TAKEN
        if answer is not Answer.TAKEN:
            self.drop_unsampled(unsampled, answer)
        if self._counts:
            taken = [*(sampled if is_sent else ()), *(unsampled if answer is Answer.TAKEN else ())]
            counters.add(received=len(spans), stored=len(taken), failed=0 if is_sent else len(sampled))
        return SpanExportResult.SUCCESS if is_sent and answer is Answer.TAKEN else SpanExportResult.FAILURE

    def export_unsampled(self, spans: Sequence[ReadableSpan]) -> Answer:
        """Send ended spans that are not sampled, as log records, in one attempt."""
        return Answer.UNKNOWN if self._unsampled is None else self._unsampled.send(spans)

    def drop_unsampled(self, spans: Sequence[ReadableSpan], answer: Answer) -> None:
        """Count spans that the endpoint has not taken."""
        if self._unsampled is not None:
            self._unsampled.drop(spans, answer)

    def export_sampled(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ended spans that are sampled."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._exporter = self._make()
        try:
            return self._exporter.export(spans)
        except Exception as exc:  # noqa: BLE001  older exporters raise where nobody listens
            logger.error("%s could not be sent: %r", many(len(spans), "span"), exc)  # noqa: TRY400  its message says it all
            return SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As OpenTelemetry's exporter has it."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """As OpenTelemetry's exporter has it."""
        self._exporter.shutdown()

    def prepare(self) -> None:
        """Nothing is slow here."""

    def export_started(self, spans: Sequence[Span]) -> bool:
        """Tell of spans that have started."""
        return self._send(spans, start_from_span)

    def export_heartbeats(self, spans: Sequence[Span]) -> bool:
        """Tell that the processes of runs live."""
        return self._send(spans, heartbeat_from_span)

    def _send(self, spans: Sequence[Span], tell: Tell) -> bool:
        """False: not now."""
        if self._logs is None:
            return True
        if time.monotonic() < self._not_before:
            return False
        answer = self._logs.send(request_from_spans(spans, tell, is_read).SerializeToString())
        if answer is Answer.UNKNOWN:
            self._logs = None
            logger.info("The OTLP endpoint takes no logs; runs appear there when they have ended.")
        elif answer is not Answer.TAKEN:
            # A refusal may be of these records alone, or of a token that is about to change.
            self._not_before = time.monotonic() + PAUSE_SECONDS
        return answer is not Answer.LATER


def otlp_exporter(endpoint: str | None, *, takes_unsampled: bool = False) -> OtlpExporter:
    """An exporter to an endpoint; without one the standard variables say where to.

    Args:
        endpoint: as ``configure()`` takes it.
        takes_unsampled: as ``OtlpExporter`` takes it.
    """
    options = Options(endpoint)
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        over_grpc = LogsOverGrpc(options)
        return OtlpExporter(lambda: GrpcExporter(endpoint=endpoint), over_grpc, takes_unsampled=takes_unsampled)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    spans_to = None if endpoint is None else endpoint.rstrip("/").removesuffix("/v1/traces") + "/v1/traces"
    url = options.url
    over_http = None if url is None else LogsOverHttp(options, url)
    return OtlpExporter(lambda: HttpExporter(endpoint=spans_to), over_http, takes_unsampled=takes_unsampled)
