"""Open and unsampled spans as OTLP log records, which ``started.py`` reads: they go where a Collector sends no traces.

Source: opentelemetry-proto logs/v1/logs.proto, common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber

from otel_runs import attributes as key
from otel_runs.spans.ended import attributes_from_end
from otel_runs.spans.span import NO_ATTRIBUTES, Attributes, Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_KNOWS_EVENT_NAMES: Final = "event_name" in LogRecord.DESCRIPTOR.fields_by_name
"""False with opentelemetry-proto before 1.30; then the attribute of older senders says it."""
_LARGEST: Final = 2**63


def request_from_started(spans: Sequence[Span], is_told: Callable[[str], bool]) -> ExportLogsServiceRequest:
    """The request that tells of spans that have started.

    Args:
        spans: open.
        is_told: whether an attribute of a span, by its key, goes with it.
    """
    request = ExportLogsServiceRequest()
    groups = _Groups(request)
    for span in spans:
        name = key.EVENT_RUN_STARTED if _is_run(span) else key.EVENT_STEP_STARTED
        _fill(groups.add(span), span, name, span.start_ns, NO_ATTRIBUTES, is_told)
    return request


def request_from_heartbeats(spans: Sequence[Span], is_told: Callable[[str], bool]) -> ExportLogsServiceRequest:
    """The request that tells that the processes of runs live; as above. Spans without a heartbeat are left out."""
    request = ExportLogsServiceRequest()
    groups = _Groups(request)
    for span in spans:
        if span.heartbeat_ns is not None:
            start = {key.SPAN_START: span.start_ns}
            _fill(groups.add(span), span, key.EVENT_RUN_HEARTBEAT, span.heartbeat_ns, start, is_told)
    return request


def request_from_ended(spans: Sequence[Span], is_told: Callable[[str], bool]) -> ExportLogsServiceRequest:
    """The request that tells of spans that have ended, instead of sending them; as above."""
    request = ExportLogsServiceRequest()
    groups = _Groups(request)
    for span in spans:
        if span.end_ns is not None:
            about = attributes_from_end(span)
            _fill(groups.add(span), span, key.EVENT_SPAN_ENDED, span.end_ns, about, is_told)
    return request


def _is_run(span: Span) -> bool:
    return span.parent_span_id is None or span.attributes.get(key.KIND) == "run"


class _Groups:
    """The log records of a request, below their resources and scopes."""

    def __init__(self, request: ExportLogsServiceRequest) -> None:
        self._request = request
        # By identity: the spans of a provider share one resource.
        self._resources: dict[int, ResourceLogs] = {}
        self._scopes: dict[tuple[int, str], ScopeLogs] = {}

    def add(self, span: Span) -> LogRecord:
        """A new record for a span."""
        place = id(span.resource), span.scope_name
        scope = self._scopes.get(place)
        if scope is None:
            resource = self._resources.get(place[0])
            if resource is None:
                resource = self._resources[place[0]] = self._request.resource_logs.add()
                _add_pairs(resource.resource.attributes, span.resource.attributes)
            scope = self._scopes[place] = resource.scope_logs.add()
            scope.scope.name = span.scope_name
        record: LogRecord = scope.log_records.add()
        return record


def _fill(
    record: LogRecord, span: Span, event_name: str, time_ns: int, more: Attributes, is_told: Callable[[str], bool]
) -> None:
    record.trace_id = bytes.fromhex(span.trace_id)
    record.span_id = bytes.fromhex(span.span_id)
    record.time_unix_nano = time_ns
    record.observed_time_unix_nano = span.heartbeat_ns or time_ns
    record.severity_number = SeverityNumber.SEVERITY_NUMBER_INFO
    about: dict[str, object] = {key.SPAN_NAME: span.name, key.SPAN_KIND: span.kind, **more}
    if _KNOWS_EVENT_NAMES:
        record.event_name = event_name
    else:
        about[key.EVENT_NAME] = event_name
    if span.parent_span_id is not None:
        about[key.SPAN_PARENT_ID] = span.parent_span_id
        if span.parent_is_remote is not None:
            about[key.SPAN_PARENT_IS_REMOTE] = span.parent_is_remote
    _add_pairs(record.attributes, {name: value for name, value in span.attributes.items() if is_told(name)})
    _add_pairs(record.attributes, about)


def _add_pairs(pairs: RepeatedCompositeFieldContainer[KeyValue], attributes: Attributes) -> None:
    for name, value in attributes.items():
        pair = pairs.add()
        pair.key = name
        _set(pair.value, value)


def _set(field: AnyValue, value: object) -> None:
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        field.int_value = value
    elif isinstance(value, float):
        field.double_value = value
    elif isinstance(value, bytes):
        field.bytes_value = value
    elif isinstance(value, Mapping):
        field.kvlist_value.SetInParent()
        _add_pairs(field.kvlist_value.values, {str(name): item for name, item in value.items()})
    elif isinstance(value, Sequence) and not isinstance(value, str):
        field.array_value.SetInParent()
        for item in value:
            _set(field.array_value.values.add(), item)
    elif value is not None:
        # Text with half a surrogate pair, from a file's name for instance, is no UTF-8.
        field.string_value = str(value).encode(errors="replace").decode()
