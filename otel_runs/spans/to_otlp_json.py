"""OTLP JSON from neutral spans: lines as a Collector's file exporter writes them, which ``from_otlp_json`` reads.

An ended span is a span of traces. An open one is a log record that tells of its start, as ``told.py`` has it, and
one that is not sampled a log record that tells of its end, so that nobody who reads traces alone is disturbed.

Source: opentelemetry.io/docs/specs/otlp, JSON Protobuf Encoding.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from otel_runs.spans.grouped import grouped
from otel_runs.spans.span import Attributes, Event, Link, Span
from otel_runs.spans.told import latest_from_span

Json = dict[str, Any]
Refuse = Callable[[Span, Exception], object]
"""Is told of a span that cannot be written, and why."""

_SPANS_A_LINE: Final = 256
"""What one damaged line may cost, against a resource that is written once a line."""
_KINDS: Final = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_STATUSES: Final = {"OK": 1, "ERROR": 2}
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


class Line(NamedTuple):
    """One line of a file."""

    text: bytes
    """With its line feed."""
    ended: int
    """How many ended spans are in it."""


def _raise(_: Span, error: Exception) -> NoReturn:
    raise error


def lines_from_spans(spans: Iterable[Span], refuse: Refuse = _raise) -> Iterator[Line]:
    """The lines that hold these spans: an ExportTraceServiceRequest or ExportLogsServiceRequest each.

    Each line is made when it is asked for, of the spans that are next: so who runs out of time has the first ones.

    Args:
        spans: ended or open.
        refuse: told of each span that cannot be written; the others are. Without it, the error is raised.

    Decoding gives the same spans, but for integers of more than 64 bits, which OTLP does not have: they become text. A
    started run always comes back with a heartbeat, a started step never; a span that is not sampled without links, and
    with its last exception as its only event.
    """
    rest = iter(spans)
    while part := list(islice(rest, _SPANS_A_LINE)):
        sent = [span for span in part if not is_told(span)]
        told = [span for span in part if is_told(span)]
        if sent:
            yield from _lines(sent, traces_from_spans, refuse)
        if told:
            yield from _lines(told, logs_from_spans, refuse)


def _lines(spans: Sequence[Span], encode: Callable[[Sequence[Span]], Json], refuse: Refuse) -> Iterator[Line]:
    """One line; where a span cannot be written, several, without it."""
    try:
        text = text_from_json(encode(spans))
    except Exception as exc:  # noqa: BLE001  a span may hold anything
        if len(spans) == 1:
            refuse(spans[0], exc)
            return
    else:
        yield Line(text + b"\n", sum(span.end_ns is not None for span in spans))
        return
    middle = len(spans) // 2
    yield from _lines(spans[:middle], encode, refuse)
    yield from _lines(spans[middle:], encode, refuse)


def is_told(span: Span) -> bool:
    """Whether a log record tells of the span: it is open, or not sampled."""
    return span.end_ns is None or not span.is_sampled


def text_from_json(document: Json) -> bytes:
    """The document as one line, without its line feed."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # half a surrogate pair, or lists in lists in lists
        return json.dumps(document, separators=(",", ":")).encode()


def traces_from_spans(spans: Sequence[Span]) -> Json:
    """The ExportTraceServiceRequest that holds ended spans."""
    return _document(spans, "Spans", "spans", _span)


def logs_from_spans(spans: Sequence[Span]) -> Json:
    """The ExportLogsServiceRequest that tells of spans: of their end, of their start, or of a run's last heartbeat."""
    return _document(spans, "Logs", "logRecords", _record)


def _document(spans: Sequence[Span], signal: str, items: str, encode: Callable[[Span], Json]) -> Json:
    return {
        f"resource{signal}": [
            {
                "resource": {"attributes": _pairs(resource.attributes)},
                f"scope{signal}": [{"scope": {"name": name}, items: found} for name, found in scopes.items()],
            }
            for resource, scopes in grouped((span, encode(span)) for span in spans)
        ]
    }


def _span(span: Span) -> Json:
    found: Json = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
    }
    if span.parent_span_id is not None:
        found["parentSpanId"] = span.parent_span_id
    if span.parent_is_remote is not None:
        found["flags"] = _HAS_IS_REMOTE | (_IS_REMOTE if span.parent_is_remote else 0)
    if span.attributes:
        found["attributes"] = _pairs(span.attributes)
    if span.events:
        found["events"] = [_event(event) for event in span.events]
    if span.links:
        found["links"] = [_link(link) for link in span.links]
    status: Json = {}
    if span.status in _STATUSES:
        status["code"] = _STATUSES[span.status]
    if span.status_message:
        status["message"] = span.status_message
    if status:
        found["status"] = status
    return found


def _event(event: Event) -> Json:
    return {"timeUnixNano": str(event.time_ns), "name": event.name, "attributes": _pairs(event.attributes)}


def _link(link: Link) -> Json:
    return {"traceId": link.trace_id, "spanId": link.span_id, "attributes": _pairs(link.attributes)}


def _record(span: Span) -> Json:
    told = latest_from_span(span)
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "timeUnixNano": str(told.time_ns),
        "eventName": told.event_name,
        "attributes": _pairs({**span.attributes, **told.about}),
    }


def _pairs(attributes: Attributes) -> list[Json]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: object) -> Json:
    encode = _ENCODERS.get(type(value))
    if encode is not None:
        return encode(value)
    # A subclass: an enumeration of texts, for instance.
    for type_, encode in _ENCODERS.items():
        if isinstance(value, type_):
            return encode(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    return _sequence(value) if isinstance(value, Sequence) else {"stringValue": str(value)}


def _text(value: Any) -> Json:
    return {"stringValue": str.__str__(value)}


def _integer(value: Any) -> Json:
    number = int(value)
    # As text: JavaScript's numbers have 53 bits, so OTLP JSON writes integers of 64 so.
    return {"intValue" if _SMALLEST <= number <= _LARGEST else "stringValue": str(number)}


def _double(value: Any) -> Json:
    number = float(value)
    if math.isnan(number):
        return {"doubleValue": "NaN"}
    if math.isinf(number):
        return {"doubleValue": "Infinity" if number > 0 else "-Infinity"}
    return {"doubleValue": number}


def _sequence(values: Any) -> Json:
    return {"arrayValue": {"values": [_value(item) for item in values]}}


def _mapping(values: Any) -> Json:
    return {"kvlistValue": {"values": [{"key": str(name), "value": _value(item)} for name, item in values.items()]}}


_ENCODERS: Final[dict[type, Callable[[Any], Json]]] = {
    str: _text,
    bool: lambda value: {"boolValue": value},
    int: _integer,
    float: _double,
    bytes: lambda value: {"bytesValue": base64.b64encode(value).decode()},
    tuple: _sequence,
    list: _sequence,
    dict: _mapping,
    type(None): lambda _: {},
}
