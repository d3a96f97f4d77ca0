"""OTLP log records that tell of spans which are open or not sampled: they go where a Collector sends no traces.

Source: opentelemetry-proto logs/v1/logs.proto, common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from otel_runs import attributes as key
from otel_runs.spans.grouped import grouped
from otel_runs.spans.span import Attributes, Span
from otel_runs.spans.told import Tell, Told

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

_KNOWS_EVENT_NAMES: Final = "event_name" in LogRecord.DESCRIPTOR.fields_by_name
"""False with opentelemetry-proto before 1.30; then the attribute of older senders says it."""
_LARGEST: Final = 2**63


def request_from_spans(spans: Sequence[Span], tell: Tell, is_told: Callable[[str], bool]) -> ExportLogsServiceRequest:
    """The request that tells something of spans.

    Args:
        spans: those of which there is nothing of the kind to tell are left out.
        tell: of ``told.py``: what is told.
        is_told: whether an attribute of a span, by its key, goes with it.
    """
    request = ExportLogsServiceRequest()
    found = [(span, told) for span in spans if (told := tell(span)) is not None]
    for resource, scopes in grouped(found):
        logs = request.resource_logs.add()
        _add_pairs(logs.resource.attributes, resource.attributes)
        for name, records in scopes.items():
            scope = logs.scope_logs.add()
            scope.scope.name = name
            for told in records:
                _fill(scope.log_records.add(), told, is_told)
    return request


def _fill(record: LogRecord, told: Told, is_told: Callable[[str], bool]) -> None:
    span = told.span
    record.trace_id = bytes.fromhex(span.trace_id)
    record.span_id = bytes.fromhex(span.span_id)
    record.time_unix_nano = told.time_ns
    record.observed_time_unix_nano = span.heartbeat_ns or told.time_ns
    record.severity_number = SeverityNumber.SEVERITY_NUMBER_INFO
    _add_pairs(record.attributes, {name: value for name, value in span.attributes.items() if is_told(name)})
    _add_pairs(record.attributes, told.about)
    if _KNOWS_EVENT_NAMES:
        record.event_name = told.event_name
    else:
        _add_pairs(record.attributes, {key.EVENT_NAME: told.event_name})


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
