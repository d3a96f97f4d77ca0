"""Neutral spans from Jaeger's JSON: what its page downloads and its query API answers.

Jaeger keeps microseconds: start and duration are cut, each by itself. A list in an attribute of OpenTelemetry is JSON
text there.

Source: jaeger, internal/uimodel/model.go; the tags that stand for OpenTelemetry's fields: OpenTelemetry specification,
trace/sdk_exporters/jaeger.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

import orjson

from otel_runs import attributes as key
from otel_runs.errors import DecodeError
from otel_runs.spans.decoded import Decoded, RefusedError, parent_id_of, refuse_without_identity, shown, tell
from otel_runs.spans.json_values import bytes_of, integer_of
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import NO_ATTRIBUTES, Attributes, Event, Link, Resource, Span, SpanKind, StatusCode

Json = dict[str, Any]

_NS: Final = 1_000
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_KINDS: Final = frozenset({"INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"})
_LISTS: Final = frozenset({key.MODEL_DEPENDS_ON, key.MODEL_TAGS, key.GEN_AI_FINISH_REASONS})
"""Attributes that are lists; of others, text that looks like a list stays text."""

_KIND: Final = "span.kind"
_STATUS: Final = "otel.status_code"
_DESCRIPTION: Final = "otel.status_description"
_ERROR: Final = "error"
_SCOPES: Final = ("otel.scope.name", "otel.library.name")
_OUR_OWN: Final = frozenset(
    {
        _KIND,
        _STATUS,
        _DESCRIPTION,
        *_SCOPES,
        "otel.scope.version",
        "otel.library.version",
        "w3c.tracestate",
        "internal.span.format",
    }
)
"""Tags that are no attributes in OpenTelemetry."""


def spans_from_jaeger(document: Json, limits: Limits) -> Decoded:
    """The spans of a document ``{"data": [trace, ...]}``, or of one trace.

    Args:
        document: read from JSON.
        limits: what is read of one span at most.

    Raises:
        DecodeError: it is no such document.
    """
    decoded = Decoded([], [])
    for trace in _traces(document):
        resources = _resources(trace, limits)
        for found in trace["spans"]:
            try:
                decoded.spans.append(_span(found, resources, limits))
            except RefusedError as exc:
                id_ = found.get("spanID") if isinstance(found, dict) else None
                tell(decoded.refused, f"Span {shown(id_) if isinstance(id_, (list, dict)) else str(id_)[:32]}", exc)
    return decoded


def _traces(document: Json) -> Iterator[Json]:
    traces = [document] if "spans" in document else document.get("data")
    if not isinstance(traces, list):
        msg = f"data is {shown(traces)}; expected a list of traces."
        raise DecodeError(msg)
    for trace in traces:
        if not isinstance(trace, dict) or not isinstance(trace.get("spans"), list):
            msg = f"A trace of Jaeger is {shown(trace)}; expected an object with a list of spans."
            raise DecodeError(msg)
        yield trace


def _resources(trace: Json, limits: Limits) -> dict[str, Resource]:
    """The processes of a trace: one resource each, so that the mapping reads it once."""
    processes = trace.get("processes") or {}
    if not isinstance(processes, dict):
        msg = f"processes is {shown(processes)}; expected an object."
        raise DecodeError(msg)
    try:
        return {id_: _resource(process, limits) for id_, process in processes.items()}
    except RefusedError as exc:
        msg = f"A process of a trace: {exc}"
        raise DecodeError(msg) from exc


def _resource(process: object, limits: Limits) -> Resource:
    if not isinstance(process, dict):
        return Resource(NO_ATTRIBUTES)
    attributes: dict[str, object] = {}
    if isinstance(process.get("serviceName"), str):
        attributes[key.SERVICE_NAME] = process["serviceName"]
    return Resource(attributes | dict(_attributes(process.get("tags"), limits)))


def _span(found: object, resources: dict[str, Resource], limits: Limits) -> Span:
    if not isinstance(found, dict):
        msg = f"it is {shown(found)}; expected an object."
        raise RefusedError(msg)
    trace_id = _id(found.get("traceID"), "traceID", 32)
    span_id = _id(found.get("spanID"), "spanID", 16)
    start_ns = _time(found.get("startTime"), "startTime")
    refuse_without_identity(trace_id, span_id, start_ns)
    parent, links = _references(found, trace_id, limits)
    tags = dict(_attributes(found.get("tags"), limits))
    status, message = _status(tags)
    name = found.get("operationName")
    # Of old exports, a span may carry its process itself.
    inside = found.get("process")
    resource = resources.get(str(found.get("processID")))
    return Span(
        trace_id,
        span_id,
        parent,
        name[: limits.text] if isinstance(name, str) else "",
        _kind(tags.get(_KIND)),
        start_ns,
        start_ns + _time(found.get("duration"), "duration"),
        status,
        message,
        {tag: value for tag, value in tags.items() if tag not in _OUR_OWN},
        _events(found.get("logs"), limits),
        links,
        resource or _resource(inside, limits),
        next((name for name in map(tags.get, _SCOPES) if isinstance(name, str)), ""),
    )


def _id(value: object, field: str, digits: int) -> str:
    """An id; Jaeger leaves leading zeros out, and writes traces of 64 bits with 16 digits."""
    if isinstance(value, str) and 0 < len(value) <= digits and _HEX_DIGITS.issuperset(value.lower()):
        return value.lower().zfill(digits)
    msg = f"{field} is {shown(value)}; expected up to {digits} hexadecimal digits."
    raise RefusedError(msg)


def _time(value: object, field: str) -> int:
    """Nanoseconds, from microseconds; 0 where there is nothing."""
    number = 0 if value is None else integer_of(value)
    if number is None or number < 0:
        msg = f"{field} is {shown(value)}; expected microseconds, 0 or more."
        raise RefusedError(msg)
    return number * _NS


def _references(span: Json, trace_id: str, limits: Limits) -> tuple[str | None, list[Link] | tuple[()]]:
    """The parent, and the links: all references but that to the parent."""
    references = [
        (each.get("refType"), _id(each.get("traceID"), "traceID of a reference", 32), _reference_id(each))
        for each in _objects(span.get("references"), "references")
    ]
    legacy = span.get("parentSpanID")
    if legacy and not references:
        references = [("CHILD_OF", trace_id, _id(legacy, "parentSpanID", 16))]
    parent = next(
        (
            reference
            # OpenTracing's parent of work that the parent does not wait for is a FOLLOWS_FROM.
            for kind in ("CHILD_OF", "FOLLOWS_FROM")
            for reference in references
            if reference[0] == kind and reference[1] == trace_id
        ),
        None,
    )
    links = [Link(trace, id_, NO_ATTRIBUTES) for kind, trace, id_ in references if (kind, trace, id_) != parent]
    return (parent_id_of(parent[2]) if parent else None), links[max(0, len(links) - limits.links) :] or ()


def _reference_id(reference: Json) -> str:
    return _id(reference.get("spanID"), "spanID of a reference", 16)


def _objects(value: object, field: str) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        msg = f"{field} is {shown(value)}; expected a list of objects."
        raise RefusedError(msg)
    return value


def _attributes(tags: object, limits: Limits) -> Attributes:
    # Those that stand for OpenTelemetry's fields are counted too: there are few.
    return {
        str(tag.get("key")): _value(str(tag.get("key")), tag.get("type"), tag.get("value"), limits)
        for tag in _objects(tags, "tags")[: limits.attributes]
    }


def _value(name: str, type_: object, value: object, limits: Limits) -> object:
    """A tag's value, by its type; None where it cannot be read as that."""
    read = _READERS.get(type_) if isinstance(type_, str) else None
    value = value if read is None else read(value)
    if isinstance(value, (str, bytes)):
        value = value[: limits.text]
    if name in _LISTS and isinstance(value, str) and value.startswith("["):
        with suppress(orjson.JSONDecodeError):  # cut, or no list
            items = orjson.loads(value)
            if all(isinstance(item, str) for item in items):
                return tuple(items)
    return value if isinstance(value, (str, bytes, bool, int, float)) else None


def _text(value: object) -> str | None:
    """A text, or the text of a number; no mapping and no list, which may be nested without end."""
    return str(value) if isinstance(value, (str, bool, int, float)) else None


def _float(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "string": _text,
    "bool": lambda value: {"true": True, "false": False}.get((_text(value) or "").lower()),
    "int64": integer_of,
    "float64": _float,
    "binary": bytes_of,
}
"""Type of a tag -> how its value is read. Some of Jaeger's storages keep every value as text."""


def _kind(value: object) -> SpanKind:
    kind = value.upper() if isinstance(value, str) else None
    return cast("SpanKind", kind) if kind in _KINDS else "INTERNAL"


def _status(tags: dict[str, object]) -> tuple[StatusCode, str | None]:
    """The status; the tag that says error is taken out where it is nothing but the status."""
    error = tags.get(_ERROR)
    is_error = error is True or error == "true"
    if is_error:
        del tags[_ERROR]
    message = tags.get(_DESCRIPTION)
    if is_error or tags.get(_STATUS) == "ERROR":
        return "ERROR", message if isinstance(message, str) and message else None
    return ("OK" if tags.get(_STATUS) == "OK" else "UNSET"), None


def _events(logs: object, limits: Limits) -> list[Event] | tuple[()]:
    found = _objects(logs, "logs")
    events = []
    for log in found[max(0, len(found) - limits.events) :]:
        fields = dict(_attributes(log.get("fields"), limits))
        name = fields.pop("event", "")
        events.append(Event(str(name), _time(log.get("timestamp"), "timestamp"), fields))
    return events or ()
