"""An exporter to a Collector that is away now and then, where nothing else keeps the spans: with its own spool."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_runs.counters import counters
from otel_runs.errors import OtelRunsError, SettingsError
from otel_runs.export.exporter import instrumentation_suppressed
from otel_runs.export.keeping import UnreadableSpans, last_first
from otel_runs.export.logs_service import Answer
from otel_runs.export.otlp import OtlpExporter, otlp_exporter
from otel_runs.export.spooling import spool_of_endpoint
from otel_runs.export.unsampled import divided, is_sampled
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
_NO_LOGS: Final = "The OTLP endpoint takes no logs, and this span is not sampled."


class EndpointError(OtelRunsError):
    """The endpoint takes no spans now."""


class NoLogsError(EndpointError):
    """The endpoint takes no logs at all."""


class SpooledExporter(SpanExporter):
    """Sends spans to an endpoint; keeps those that it does not take, and sends them when it takes spans again.

    OpenTelemetry's exporter has its own retries, and does not say why it failed. So what fails is kept, whatever the
    reason; what fails again, while its neighbours are taken, is put in quarantine. Spans that are not sampled go their
    own way, as log records. An endpoint that takes no logs would never take them; for it they are not kept.

    Args:
        make: makes the exporter behind it; a replay, in a thread of its own, takes another one.
        spool: of the endpoint.
    """

    def __init__(self, make: Callable[[], OtlpExporter], spool: Spool) -> None:
        self._exporter = make()
        self._make = make
        self._keeper = Keeper(spool, self._opening)
        self._has_told = False
        self._lose_unreadable = UnreadableSpans()
        self._taken: dict[bool, ReadableSpan] = {}
        """The last spans that the endpoint took, by whether they were sampled."""

    @property
    def is_spooling(self) -> bool:
        """Yes."""
        return True

    @property
    def takes_unsampled(self) -> bool:
        """As the exporter behind it."""
        return self._exporter.takes_unsampled

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ended spans, or keep them; SUCCESS only if they were taken."""
        counters.add(received=len(spans))
        # Each part for itself: Jaeger would show twice what is sent again though it was taken.
        answers = [self._export(part) for part in divided(spans) if part]
        if Answer.LATER not in answers and Answer.TAKEN in answers:
            self._has_told = False
        if Answer.TAKEN in answers:
            self._keeper.note_success()
        return SpanExportResult.SUCCESS if set(answers) <= {Answer.TAKEN} else SpanExportResult.FAILURE

    def _export(self, spans: Sequence[ReadableSpan]) -> Answer:
        answer = _sent(self._exporter, spans)
        if answer is Answer.TAKEN:
            self._taken[is_sampled(spans[-1])] = spans[-1]
            counters.add(stored=len(spans))
        elif answer is Answer.UNKNOWN:
            self._exporter.drop_unsampled(spans, answer)
        else:
            self._tell()  # first: what cannot be spooled either is told next, and is the last word
            self._keep(spans)
        return answer

    def spool(self, spans: Sequence[ReadableSpan], *, patience: float | None = None) -> bool:
        """Keep spans for later; False if another thread writes for longer than ``patience``: nothing was done."""
        if not self._keep(spans, patience=patience):
            return False
        counters.add(received=len(spans))
        return True

    def _keep(self, spans: Sequence[ReadableSpan], *, patience: float | None = None) -> bool:
        ordered = last_first(spans, self._keeper.spool.folder)
        return self._keeper.keep(SdkSpans().spans_from_sdk(ordered, self._lose_unreadable), patience=patience)

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

    def _tell(self) -> None:
        if not self._has_told:
            self._has_told = True
            folder = self._keeper.spool.folder
            logger.error("The OTLP endpoint took no spans. They go to %s until it does; not said again.", folder)

    @contextmanager
    def _opening(self) -> Generator[Save]:
        if not self._taken:
            raise EndpointError(_AWAY)
        with into_endpoint(self._make, self._taken) as save:
            yield save


@contextmanager
def into_endpoint(
    make: Callable[[], OtlpExporter], witnesses: Mapping[bool, ReadableSpan] | None = None
) -> Generator[Save]:
    """A way to an endpoint for a replay.

    Args:
        make: makes the exporter that is used.
        witnesses: spans that the endpoint took before, by whether they were sampled; without one the last of the first
            that are sent must be taken.
    """
    exporter = make()
    taken = dict(witnesses or {})

    def send(spans: Sequence[ReadableSpan]) -> bool:
        answer = _sent(exporter, spans)
        if answer is Answer.UNKNOWN:
            raise NoLogsError(_NO_LOGS)
        return answer is Answer.TAKEN

    def save_part(spans: Sequence[Span], *, sampled: bool) -> list[Quarantined]:
        if not spans:
            return []
        sdk_spans = [sdk_span(span) for span in spans]
        try:
            refused = refused_by(send, sdk_spans, taken.get(sampled, sdk_spans[-1]))
        except NoLogsError as exc:
            return [Quarantined(span, f"{exc}") for span in spans]
        fine = next((span for position, span in enumerate(sdk_spans) if position not in refused), None)
        if fine is not None:
            taken[sampled] = fine
        return [Quarantined(spans[position], _REFUSED) for position in refused]

    def save(spans: Sequence[Span]) -> list[Quarantined]:
        ended = [span for span in spans if span.end_ns is not None]
        # What is sampled comes last: if the rest fails it is not sent, so Jaeger does not get it at each attempt.
        quarantined = save_part([span for span in ended if not span.is_sampled], sampled=False)
        return quarantined + save_part([span for span in ended if span.is_sampled], sampled=True)

    try:
        with instrumentation_suppressed():
            yield save
    finally:
        exporter.shutdown()


def _sent(exporter: OtlpExporter, spans: Sequence[ReadableSpan]) -> Answer:
    """TAKEN, LATER, or UNKNOWN of an endpoint that never takes such spans.

    Args:
        exporter: that sends them.
        spans: some; all of them sampled, or none.
    """
    try:
        if is_sampled(spans[0]):
            is_taken = exporter.export_sampled(spans) is SpanExportResult.SUCCESS
            return Answer.TAKEN if is_taken else Answer.LATER
        answer = exporter.export_unsampled(spans)
    except Exception as exc:  # noqa: BLE001  why it failed makes no difference
        logger.debug("An exporter failed: %s", exc)
        return Answer.LATER
    return Answer.LATER if answer is Answer.REFUSED else answer  # a replay finds out which of them is refused


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
    """An OTLP exporter with a spool; without one where that is off, or has no place."""
    try:
        spool = spool_of_endpoint(endpoint)
    except SettingsError as exc:
        logger.error("%s Spans that the OTLP endpoint does not take will be lost.", exc)  # noqa: TRY400  it says it all
        spool = None
    make = partial(otlp_exporter, endpoint, takes_unsampled=True)
    return make() if spool is None else SpooledExporter(make, spool)
