"""Spans that a sampler left out, on their way to the run tables behind an OTLP endpoint: as log records."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_runs.amounts import many
from otel_runs.counters import counters
from otel_runs.export.logs_service import Answer, LogsService
from otel_runs.mapping.vocabulary import is_read
from otel_runs.spans.from_sdk import SdkSpans
from otel_runs.spans.to_otlp_logs import request_from_spans
from otel_runs.spans.told import end_from_span

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 10.0
"""How long an endpoint that takes no logs is not asked again; it may be a proxy whose Collector starts."""


class UnsampledSpans:
    """Sends spans that are not sampled. Not best effort, as starts and heartbeats are: nobody tells of an end again.

    Args:
        logs: where log records go.
    """

    def __init__(self, logs: LogsService) -> None:
        self._logs = logs
        self._not_before = 0.0
        """As of ``time.monotonic()``."""
        self._has_told = False

    def send(self, spans: Sequence[ReadableSpan]) -> Answer:
        """Send ended spans, in one attempt of two seconds at most; also those without a row, which lead to others."""
        if time.monotonic() < self._not_before:
            return Answer.UNKNOWN
        sdk_spans = SdkSpans()
        request = request_from_spans([sdk_spans.span_from_sdk(span) for span in spans], end_from_span, is_read)
        answer = self._logs.send(request.SerializeToString())
        if answer is Answer.UNKNOWN:
            self._not_before = time.monotonic() + PAUSE_SECONDS
        return answer

    def drop(self, spans: Sequence[ReadableSpan], answer: Answer) -> None:
        """Count spans that nobody gets, and say so once."""
        counters.add(dropped=len(spans))
        if self._has_told:
            return
        self._has_told = True
        why = "takes no logs" if answer is Answer.UNKNOWN else "did not take them"
        logger.warning(
            "%s dropped, and more may be, which otel_runs.stats() counts: the OTLP "
            "endpoint %s. Their runs will be missing from the run tables. Send to otel-runs or to a Collector with a "
            "logs pipeline, or sample in the Collector instead.",
            many(len(spans), "span that is not sampled is", "spans that are not sampled are"),
            why,
        )


def divided(spans: Sequence[ReadableSpan]) -> tuple[list[ReadableSpan], list[ReadableSpan]]:
    """The spans that are sampled, and those that are not."""
    sampled: list[ReadableSpan] = []
    others: list[ReadableSpan] = []
    for span in spans:
        (sampled if is_sampled(span) else others).append(span)
    return sampled, others


def is_sampled(span: ReadableSpan) -> bool:
    """Whether whoever reads traces gets the span."""
    context = span.get_span_context()
    return context is None or context.trace_flags.sampled
