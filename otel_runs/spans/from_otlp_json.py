"""Neutral spans from OTLP JSON, also as it occurs in the wild.

Source: opentelemetry.io/docs/specs/otlp, JSON Protobuf Encoding; before opentelemetry-proto 0.15 the scopes were called
instrumentation libraries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from otel_runs import attributes as key
from otel_runs.errors import DecodeError
from otel_runs.spans.decoded import Decoded, RefusedError, named, parent_id_of, refuse_without_identity, shown, tell
from otel_runs.spans.json_values import attributes_of, id_of, integer_of
from otel_runs.spans.limits import Limits
from otel_runs.spans.sizes import UNBOUNDED, Allowance, require_few_objects
from otel_runs.spans.span import Event, Link, Resource, Span, SpanKind, StatusCode
from otel_runs.spans.started import is_start, started_span

Json = dict[str, Any]

_KIND_NAMES: Final[tuple[SpanKind, ...]] = ("INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS_NAMES: Final[tuple[StatusCode, ...]] = ("OK", "ERROR")
# An enumeration is written as a number, by some senders as its name or as text.
_KINDS: Final[dict[object, SpanKind]] = {
    written: name
    for number, name in enumerate(_KIND_NAMES, 1)
    for written in (number, str(number), name, f"SPAN_KIND_{name}")
}
_STATUSES: Final[dict[object, StatusCode]] = {
    written: name
    for number, name in enumerate(_STATUS_NAMES, 1)
    for written in (number, str(number), name, f"STATUS_CODE_{name}")
}
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


def json_from_bytes(body: bytes) -> Json:
    """The JSON object that a body, file or line holds.

    Raises:
        DecodeError: it holds none.
    """
    try:
        document = _parsed(body)
    except (ValueError, RecursionError) as exc:
        msg = f"The text ({len(body)} bytes) is no JSON: {exc}."
        raise DecodeError(msg) from exc
    if not isinstance(document, dict):
        msg = f"The JSON is {shown(document)}; expected an object."
        raise DecodeError(msg)
    return document


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # The standard library takes what senders write and orjson refuses: NaN, half surrogate pairs of JavaScript.
        return json.loads(body)


def spans_from_json(body: bytes, limits: Limits) -> Decoded:
    """The spans of an ExportTraceServiceRequest or TracesData in JSON.

    Args:
        body: the text, UTF-8.
        limits: what is read of one span at most.

    Raises:
        DecodeError: the body is no such document.
        TooLargeError: it holds too many things for its size, or too many at all.
    """
    require_few_objects(body)
    return spans_from_document(json_from_bytes(body), limits, Allowance(len(body)))


def started_spans_from_json_logs(body: bytes, limits: Limits) -> Decoded:
    """The started spans that an ExportLogsServiceRequest or LogsData in JSON tells of; others are counted as ignored.

    Args:
        body: the text, UTF-8.
        limits: what is read of one record at most.

    Raises:
        DecodeError: the body is no such document.
        TooLargeError: as ``spans_from_json``.
    """
    require_few_objects(body)
    return started_spans_from_document(json_from_bytes(body), limits, Allowance(len(body)))


def spans_from_document(document: Json, limits: Limits, allowance: Allowance = UNBOUNDED) -> Decoded:
    """As ``spans_from_json``, of a document that is read already."""
    decoded = Decoded([], [])
    for found, resource, scope_name in _entries(document, "Spans", "spans", limits, allowance):
        try:
            decoded.spans.append(_span(found, resource, scope_name, limits))
        except RefusedError as exc:
            name = found.get("name") if isinstance(found, dict) else None
            tell(decoded.refused, named(_shown_id(found), name), exc)
    return decoded


def started_spans_from_document(document: Json, limits: Limits, allowance: Allowance = UNBOUNDED) -> Decoded:
    """As ``started_spans_from_json_logs``, of a document that is read already."""
    spans: list[Span] = []
    refused: list[str] = []
    ignored = 0
    for record, resource, scope_name in _entries(document, "Logs", "logRecords", limits, allowance):
        event_name = _event_name(record)
        if not isinstance(record, dict) or not is_start(event_name):
            ignored += 1
            continue
        try:
            spans.append(_started(record, event_name, resource, scope_name, limits))
        except RefusedError as exc:
            tell(refused, f"Log record of span {_shown_id(record) or None}", exc)
    return Decoded(spans, refused, ignored)


def _entries(
    document: Json, signal: str, items: str, limits: Limits, allowance: Allowance
) -> Iterator[tuple[object, Resource, str]]:
    """Each span or log record with its resource and the name of its scope."""
    for of_resource in _objects(document, f"resource{signal}"):
        allowance.take(1)
        resource = _resource(of_resource, signal, limits)
        scopes = [(each, each.get("scope")) for each in _objects(of_resource, f"scope{signal}")]
        older = _objects(of_resource, f"instrumentationLibrary{signal}")
        scopes += [(each, each.get("instrumentationLibrary")) for each in older]
        for of_scope, scope in scopes:
            name = scope.get("name") if isinstance(scope, dict) else None
            scope_name = name if isinstance(name, str) else ""
            found = _list(of_scope, items)
            allowance.take(1 + len(found))
            for item in found:
                yield item, resource, scope_name


def _resource(of_resource: Json, signal: str, limits: Limits) -> Resource:
    resource = of_resource.get("resource") or {}
    if not isinstance(resource, dict):
        msg = f"The resource of an entry of resource{signal} is {shown(resource)}; expected an object."
        raise DecodeError(msg)
    try:
        return Resource(attributes_of(resource.get("attributes"), limits))
    except RefusedError as exc:
        msg = f"The resource of an entry of resource{signal}: {exc}"
        raise DecodeError(msg) from exc


def _list(parent: Json, name: str) -> list[object]:
    found = parent.get(name) or []
    if not isinstance(found, list):
        msg = f"{name} is {shown(found)}; expected a list."
        raise DecodeError(msg)
    return found


def _objects(parent: Json, name: str) -> Iterator[Json]:
    for item in _list(parent, name):
        if not isinstance(item, dict):
            msg = f"An entry of {name} is {shown(item)}; expected an object."
            raise DecodeError(msg)
        yield item


def _span(found: object, resource: Resource, scope_name: str, limits: Limits) -> Span:
    if not isinstance(found, dict):
        msg = f"it is {shown(found)}; expected an object."
        raise RefusedError(msg)
    get = found.get
    trace_id = id_of(get("traceId"), "traceId")
    span_id = id_of(get("spanId"), "spanId")
    start_ns = _time(get("startTimeUnixNano"), "startTimeUnixNano")
    refuse_without_identity(trace_id, span_id, start_ns)
    parent = parent_id_of(id_of(get("parentSpanId"), "parentSpanId"))
    return Span(
        trace_id,
        span_id,
        parent,
        _text(get("name"), limits),
        _KINDS.get(_hashable(get("kind")), "INTERNAL"),
        start_ns,
        _time(get("endTimeUnixNano"), "endTimeUnixNano") or None,
        *_status(get("status"), limits),
        attributes_of(get("attributes"), limits),
        _events(found, limits),
        _links(found, limits),
        resource,
        scope_name,
        _is_remote(get("flags")) if parent is not None else None,
    )


def _shown_id(found: object) -> str:
    """The span id of a span or log record that is refused, as it is written there; empty if it is not."""
    id_ = found.get("spanId") if isinstance(found, dict) else None
    if id_ is None:
        return ""
    # ASCII: a half surrogate pair could not be sent back in the answer.
    return ascii(id_).strip("'")[:32]


def _time(value: object, field: str) -> int:
    """Nanoseconds since 1970; 0 where there is no time."""
    if value is None or value == "":
        return 0
    number = integer_of(value)
    if number is None or number < 0:
        msg = f"{field} is {shown(value)}; expected nanoseconds since 1970, as a number or text."
        raise RefusedError(msg)
    return number


def _text(value: object, limits: Limits) -> str:
    return value[: limits.text] if isinstance(value, str) else ""


def _hashable(value: object) -> object:
    """A number or name of an enumeration; 2.0, as some libraries write all numbers, is found as 2 is."""
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None


def _status(status: object, limits: Limits) -> tuple[StatusCode, str | None]:
    if not isinstance(status, dict):
        return "UNSET", None
    return _STATUSES.get(_hashable(status.get("code")), "UNSET"), _text(status.get("message"), limits) or None


def _is_remote(flags: object) -> bool | None:
    bits = integer_of(flags) or 0
    return bool(bits & _IS_REMOTE) if bits & _HAS_IS_REMOTE else None


def _items(span: Json, name: str, most: int) -> Sequence[Json]:
    """The last events or links of a span."""
    found = span.get(name)
    if not found:
        return ()
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        msg = f"{name} is {shown(found)}; expected a list of objects."
        raise RefusedError(msg)
    return found[max(0, len(found) - most) :]


def _events(span: Json, limits: Limits) -> Sequence[Event]:
    return [
        Event(
            _text(event.get("name"), limits),
            integer_of(event.get("timeUnixNano")) or 0,
            attributes_of(event.get("attributes"), limits),
        )
        for event in _items(span, "events", limits.events)
    ] or ()


def _links(span: Json, limits: Limits) -> Sequence[Link]:
    return [
        Link(
            id_of(link.get("traceId"), "traceId of a link"),
            id_of(link.get("spanId"), "spanId of a link"),
            attributes_of(link.get("attributes"), limits),
        )
        for link in _items(span, "links", limits.links)
    ] or ()


def _event_name(record: object) -> str:
    """The event name, also of senders older than its field. Empty of what is no event."""
    if not isinstance(record, dict):
        return ""
    name = record.get("eventName")
    if name:
        return name if isinstance(name, str) else ""
    pairs = record.get("attributes")
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and pair.get("key") == key.EVENT_NAME and isinstance(pair.get("value"), dict):
            name = pair["value"].get("stringValue")
    return name if isinstance(name, str) else ""


def _started(record: Json, event_name: str, resource: Resource, scope_name: str, limits: Limits) -> Span:
    time_ns = _time(record.get("timeUnixNano"), "timeUnixNano")
    return started_span(
        event_name=event_name,
        trace_id=id_of(record.get("traceId"), "traceId"),
        span_id=id_of(record.get("spanId"), "spanId"),
        time_ns=time_ns or _time(record.get("observedTimeUnixNano"), "observedTimeUnixNano"),
        attributes=dict(attributes_of(record.get("attributes"), limits)),
        resource=resource,
        scope_name=scope_name,
    )
