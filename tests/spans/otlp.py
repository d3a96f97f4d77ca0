"""OTLP messages as tests need them, in both encodings."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_runs.spans.decoded import Decoded
from otel_runs.spans.from_otlp_json import spans_from_json, started_spans_from_json_logs
from otel_runs.spans.from_otlp_protobuf import spans_from_protobuf, started_spans_from_protobuf_logs
from otel_runs.spans.limits import Limits, limits_from_settings
from otel_runs.spans.span import Span

LIMITS: Final = limits_from_settings({})
TRACE: Final = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
SPAN: Final = bytes.fromhex("00f067aa0ba902b7")
PARENT: Final = bytes.fromhex("b7ad6b7169203331")
START: Final = 1_760_000_000_123_456_789


def any_value(value: object) -> AnyValue:
    """A value as OTLP holds it."""
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case Mapping():
            return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
        case Sequence():
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    raise TypeError(value)


def pairs(attributes: Mapping[str, object]) -> list[KeyValue]:
    """Attributes as OTLP holds them."""
    return [KeyValue(key=name, value=any_value(value)) for name, value in attributes.items()]


def otlp_span(**fields: Any) -> OtlpSpan:
    """A valid span, with some fields changed."""
    usual = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "name": "load",
        "start_time_unix_nano": START,
        "end_time_unix_nano": START + 1,
    }
    return OtlpSpan(**{**usual, **fields})


def traces(*spans: OtlpSpan, resource: Mapping[str, object] | None = None, scope: str = "tests") -> TracesData:
    """A message of the spans, of one resource and scope."""
    message = TracesData()
    of_resource = message.resource_spans.add()
    of_resource.resource.attributes.extend(pairs(resource or {"service.name": "shop"}))
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = scope
    of_scope.spans.extend(spans)
    return message


def logs(*records: LogRecord, resource: Mapping[str, object] | None = None) -> LogsData:
    """A message of the log records, of one resource and scope."""
    message = LogsData()
    of_resource = message.resource_logs.add()
    of_resource.resource.attributes.extend(pairs(resource or {"service.name": "shop"}))
    of_scope = of_resource.scope_logs.add()
    of_scope.scope.name = "tests"
    of_scope.log_records.extend(records)
    return message


def document(message: Message, *, ids: str = "hex") -> dict[str, Any]:
    """The message as OTLP JSON.

    Args:
        message: of traces or logs.
        ids: ``hex``, as OTLP has it, ``HEX`` in upper case, or ``base64``, as plain protobuf libraries write.
    """
    written: dict[str, Any] = MessageToDict(message)
    if ids != "base64":
        _write_ids_in_hex(written, upper=ids == "HEX")
    return written


def _write_ids_in_hex(value: object, *, upper: bool) -> None:
    if isinstance(value, dict):
        for name, held in value.items():
            if name in {"traceId", "spanId", "parentSpanId"}:
                digits = base64.b64decode(held).hex()
                value[name] = digits.upper() if upper else digits
            else:
                _write_ids_in_hex(held, upper=upper)
    elif isinstance(value, list):
        for item in value:
            _write_ids_in_hex(item, upper=upper)


Decoder = Callable[[Message, Limits], Decoded]

DECODERS: Final[dict[str, Decoder]] = {
    "protobuf": lambda message, limits: spans_from_protobuf(message.SerializeToString(), limits),
    "json": lambda message, limits: spans_from_json(json.dumps(document(message)).encode(), limits),
}
"""Inlet -> what it makes of a message of traces."""

LOG_DECODERS: Final[dict[str, Decoder]] = {
    "protobuf": lambda message, limits: started_spans_from_protobuf_logs(message.SerializeToString(), limits),
    "json": lambda message, limits: started_spans_from_json_logs(json.dumps(document(message)).encode(), limits),
}
"""As DECODERS, of logs."""


def only(decoded: Decoded) -> Span:
    """The only span, and none was refused."""
    assert decoded.refused == []
    [span] = decoded.spans
    return span
