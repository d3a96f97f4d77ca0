"""Every field of OTLP's messages around a span is read, or excused with a reason.

Each is changed alone, in both encodings: what is read shows in the neutral spans, what is excused does not. A field
that a newer opentelemetry-proto brings, and that stands in no table here, fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from otel_runs import attributes as key
from tests.spans.otlp import DECODERS, LIMITS, LOG_DECODERS, PARENT, SPAN, START, TRACE, logs, otlp_span, pairs, traces

Place = Callable[[Any], Any]

IN_TRACES: Final[dict[type[Message], Place]] = {
    TracesData: lambda message: message,
    ResourceSpans: lambda message: message.resource_spans[0],
    Resource: lambda message: message.resource_spans[0].resource,
    ScopeSpans: lambda message: message.resource_spans[0].scope_spans[0],
    InstrumentationScope: lambda message: message.resource_spans[0].scope_spans[0].scope,
    Span: lambda message: message.resource_spans[0].scope_spans[0].spans[0],
    Span.Event: lambda message: message.resource_spans[0].scope_spans[0].spans[0].events[0],
    Span.Link: lambda message: message.resource_spans[0].scope_spans[0].spans[0].links[0],
    Status: lambda message: message.resource_spans[0].scope_spans[0].spans[0].status,
    KeyValue: lambda message: message.resource_spans[0].scope_spans[0].spans[0].attributes[0],
    AnyValue: lambda message: message.resource_spans[0].scope_spans[0].spans[0].attributes[0].value,
}
"""Message -> where one of it stands in a message of traces."""

IN_LOGS: Final[dict[type[Message], Place]] = {
    LogsData: lambda message: message,
    ResourceLogs: lambda message: message.resource_logs[0],
    ScopeLogs: lambda message: message.resource_logs[0].scope_logs[0],
    LogRecord: lambda message: message.resource_logs[0].scope_logs[0].log_records[0],
}

EXCUSED: Final[dict[str, str]] = {
    "ResourceSpans.schema_url": "attributes are read under all names they ever had",
    "ResourceLogs.schema_url": "as ResourceSpans.schema_url",
    "ScopeSpans.schema_url": "as ResourceSpans.schema_url",
    "ScopeLogs.schema_url": "as ResourceSpans.schema_url",
    "Resource.dropped_attributes_count": "what a sender's limit dropped is unknown to the rows; the trace counts it",
    "Resource.entity_refs": "says which attributes identify the resource; the attributes are read",
    "InstrumentationScope.version": "tells which version of a library made the span, not what the pipeline did",
    "InstrumentationScope.attributes": "as InstrumentationScope.version",
    "InstrumentationScope.dropped_attributes_count": "as Resource.dropped_attributes_count",
    "Span.trace_state": "for tracers and samplers; it says nothing of the work",
    "Span.dropped_attributes_count": "as Resource.dropped_attributes_count",
    "Span.dropped_events_count": "as Resource.dropped_attributes_count",
    "Span.dropped_links_count": "as Resource.dropped_attributes_count",
    "Event.dropped_attributes_count": "as Resource.dropped_attributes_count",
    "Link.dropped_attributes_count": "as Resource.dropped_attributes_count",
    "Link.trace_state": "as Span.trace_state",
    "Link.flags": "a link is not stored; whether it is remote even less",
    "KeyValue.key_strindex": "for profiles only: the protocol says to take it as absent elsewhere",
    "AnyValue.string_value_strindex": "as KeyValue.key_strindex",
    "LogRecord.severity_number": "a start is no matter of severity",
    "LogRecord.severity_text": "as LogRecord.severity_number",
    "LogRecord.body": "what a start says stands in its attributes, as the conventions for events have it",
    "LogRecord.dropped_attributes_count": "as Resource.dropped_attributes_count",
    "LogRecord.flags": "says whether the trace is sampled; a run is recorded all the same",
}
"""Field -> why it is not read."""


def fields_of(places: dict[type[Message], Place]) -> list[tuple[type[Message], str]]:
    """Every field of the messages that the installed opentelemetry-proto knows."""
    return [(kind, field.name) for kind in places for field in kind.DESCRIPTOR.fields]


def some_traces() -> TracesData:
    """A message in which every field that is read holds something."""
    attributes = pairs({"a": "text"})
    return traces(
        otlp_span(
            parent_span_id=PARENT,
            kind=3,
            flags=0x100,
            status={"code": 2, "message": "no rows"},
            attributes=attributes,
            events=[{"name": "x", "time_unix_nano": START, "attributes": attributes}],
            links=[{"trace_id": TRACE, "span_id": SPAN, "attributes": attributes}],
        )
    )


def some_logs() -> LogsData:
    """As some_traces, of logs."""
    attributes = pairs({key.SPAN_NAME: "load", key.EVENT_NAME: key.EVENT_RUN_STARTED})
    return logs(LogRecord(trace_id=TRACE, span_id=SPAN, observed_time_unix_nano=START, attributes=attributes))


def change(message: Message, field: str) -> None:
    """Give the field another value than it has."""
    description = message.DESCRIPTOR.fields_by_name[field]
    held = getattr(message, field)
    repeated = not isinstance(held, (str, bytes, int, float, Message))
    if repeated:
        if len(held):
            del held[:]
        else:
            held.add()
    elif isinstance(held, Message):
        message.ClearField(field) if held.ByteSize() else held.SetInParent()
    elif isinstance(held, str):
        setattr(message, field, f"{held} other")
    elif isinstance(held, bytes):
        setattr(message, field, bytes(byte ^ 1 for byte in held) or b"\x01" * 8)
    elif description.name == "flags":
        setattr(message, field, int(held) ^ 0x300)
    elif description.name in {"code", "kind"}:
        setattr(message, field, held - 1)
    else:
        setattr(message, field, held + 7)


@pytest.mark.parametrize(("kind", "field"), fields_of(IN_TRACES), ids=str)
@pytest.mark.parametrize("inlet", DECODERS)
def test_field_of_a_trace_shows_in_the_span_or_is_excused(inlet: str, kind: type[Message], field: str) -> None:
    message = some_traces()
    before = DECODERS[inlet](message, LIMITS)
    change(IN_TRACES[kind](message), field)
    read = DECODERS[inlet](message, LIMITS) != before
    if kind is AnyValue and field.endswith("strindex"):  # in a oneof: it replaces the text, and is taken as absent
        assert DECODERS[inlet](message, LIMITS).spans[0].attributes == {"a": None}
        read = False
    assert read is (f"{kind.DESCRIPTOR.name}.{field}" not in EXCUSED)


@pytest.mark.parametrize(("kind", "field"), fields_of(IN_LOGS), ids=str)
@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_field_of_a_log_record_shows_in_the_started_span_or_is_excused(
    inlet: str, kind: type[Message], field: str
) -> None:
    message = some_logs()
    before = LOG_DECODERS[inlet](message, LIMITS)
    change(IN_LOGS[kind](message), field)
    assert (LOG_DECODERS[inlet](message, LIMITS) != before) is (f"{kind.DESCRIPTOR.name}.{field}" not in EXCUSED)


def test_every_excuse_has_a_reason() -> None:
    assert all(EXCUSED.values())
