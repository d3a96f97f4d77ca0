"""Spans to a Collector or Jaeger, over OTLP; and beside them, as log records, what is open."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_runs.export.live import heartbeat_seconds
from otel_runs.export.logs_service import Answer, LogsOverGrpc, LogsOverHttp, LogsService, Options
from otel_runs.mapping.vocabulary import is_read
from otel_runs.spans.span import Span
from otel_runs.spans.to_otlp_logs import request_from_heartbeats, request_from_started

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
    """

    def __init__(self, make: Callable[[], SpanExporter], logs: LogsService | None) -> None:
        self._make = make
        self._process = os.getpid()
        self._exporter = make()
        # Without heartbeats nobody could tell a run that was killed; so none is told to whoever waits for them.
        self._logs = logs if heartbeat_seconds() else None
        self._not_before = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ended spans."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._exporter = self._make()
        try:
            return self._exporter.export(spans)
        except Exception as exc:  # noqa: BLE001  older exporters raise where nobody listens
            logger.error("%d spans could not be sent: %r", len(spans), exc)  # noqa: TRY400  its message says it all
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
        return self._send(lambda: request_from_started(spans, is_read).SerializeToString())

    def export_heartbeats(self, spans: Sequence[Span]) -> bool:
        """Tell that the processes of runs live."""
        return self._send(lambda: request_from_heartbeats(spans, is_read).SerializeToString())

    def _send(self, encode: Callable[[], bytes]) -> bool:
        """False: not now."""
        if self._logs is None:
            return True
        if time.monotonic() < self._not_before:
            return False
        answer = self._logs.send(encode())
        if answer is Answer.UNKNOWN:
            self._logs = None
            logger.info("The OTLP endpoint takes no logs; runs appear there when they have ended.")
        elif answer is not Answer.TAKEN:
            # A refusal may be of these records alone, or of a token that is about to change.
            self._not_before = time.monotonic() + PAUSE_SECONDS
        return answer is not Answer.LATER


def otlp_exporter(endpoint: str | None) -> OtlpExporter:
    """An exporter to an endpoint; without one the standard variables say where to."""
    options = Options(endpoint)
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return OtlpExporter(lambda: GrpcExporter(endpoint=endpoint), LogsOverGrpc(options))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    spans_to = endpoint
    if endpoint is not None and not endpoint.endswith("/v1/traces"):
        spans_to = endpoint.rstrip("/") + "/v1/traces"
    url = options.url
    return OtlpExporter(lambda: HttpExporter(endpoint=spans_to), None if url is None else LogsOverHttp(options, url))
