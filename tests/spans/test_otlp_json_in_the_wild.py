"""OTLP JSON as senders write it who do not keep to the letter."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest

from otel_runs.spans.from_otlp_json import spans_from_json
from otel_runs.spans.span import Span
from tests.spans.otlp import LIMITS, PARENT, SPAN, START, TRACE, document, only, otlp_span, traces


def read(**fields: Any) -> Span:
    """The span that is left of a valid one with some fields of its JSON changed; None takes a field away."""
    written = document(traces(otlp_span()))
    span = written["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span.update(fields)
    return only(spans_from_json(json.dumps(written).encode(), LIMITS))


def value_of(value: object) -> object:
    """What is read of an attribute with this value."""
    return read(attributes=[{"key": "x", "value": value}]).attributes["x"]


@pytest.mark.parametrize(
    "write",
    [
        bytes.hex,
        lambda id_: id_.hex().upper(),
        lambda id_: base64.b64encode(id_).decode(),
        lambda id_: base64.b64encode(id_).decode().rstrip("="),
        lambda id_: base64.urlsafe_b64encode(id_).decode(),
    ],
    ids=["hex", "upper case", "base64", "base64 without padding", "base64 of the URL alphabet"],
)
def test_ids_are_the_same_however_they_are_written(write: Any) -> None:
    trace = bytes([0xFB, 0xEF, 0xFF, *range(13)])  # in base64, ++//: where the alphabets differ
    span = read(traceId=write(trace), spanId=write(SPAN), parentSpanId=write(PARENT))
    assert (span.trace_id, span.span_id, span.parent_span_id) == (trace.hex(), SPAN.hex(), PARENT.hex())


@pytest.mark.parametrize("parent", ["", None, "0" * 16])
def test_parent_that_is_empty_null_or_zero_is_no_parent(parent: str | None) -> None:
    assert read(parentSpanId=parent).parent_span_id is None


@pytest.mark.parametrize("start", [START, str(START)])
def test_times_are_numbers_or_text_and_exact(start: int | str) -> None:
    span = read(startTimeUnixNano=start, endTimeUnixNano=str(START + 1))
    assert (span.start_ns, span.end_ns) == (START, START + 1)


def test_time_that_javascript_wrote_as_a_float_is_read() -> None:
    assert read(startTimeUnixNano=1.76e18).start_ns == 1_760_000_000_000_000_000


@pytest.mark.parametrize("end", [None, "", "0", 0])
def test_end_that_is_missing_empty_or_zero_is_no_end(end: object) -> None:
    assert read(endTimeUnixNano=end).end_ns is None


@pytest.mark.parametrize("kind", [3, "3", "SPAN_KIND_CLIENT", "CLIENT"])
def test_kind_is_a_number_or_a_name(kind: object) -> None:
    assert read(kind=kind).kind == "CLIENT"


@pytest.mark.parametrize("code", [2, "2", "STATUS_CODE_ERROR", "ERROR"])
def test_status_is_a_number_or_a_name(code: object) -> None:
    span = read(status={"code": code, "message": "no rows"})
    assert (span.status, span.status_message) == ("ERROR", "no rows")


@pytest.mark.parametrize("odd", [None, [], {}, True, 1.5, "SPAN_KIND_UNSPECIFIED", "other"])
def test_kind_and_status_that_nobody_knows_are_the_usual_ones(odd: object) -> None:
    span = read(kind=odd, status={"code": odd, "message": odd if not isinstance(odd, str) else None})
    assert (span.kind, span.status, span.status_message) == ("INTERNAL", "UNSET", None)


@pytest.mark.parametrize("status", [None, [], "OK", 1])
def test_status_that_is_no_object_is_none(status: object) -> None:
    assert read(status=status).status == "UNSET"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"intValue": 7}, 7),
        ({"intValue": "7"}, 7),
        ({"intValue": "-9223372036854775808"}, -(2**63)),
        ({"intValue": 7.0}, 7),
        ({"intValue": 7.5}, None),
        ({"intValue": True}, None),
        ({"intValue": "many"}, None),
        ({"intValue": "9" * 5_000}, None),
        ({"intValue": str(2**70)}, None),
        ({"doubleValue": 0.5}, 0.5),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "Infinity"}, math.inf),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"doubleValue": "0.5"}, 0.5),
        ({"doubleValue": "many"}, None),
        ({"doubleValue": None}, None),
        ({"doubleValue": True}, None),
        ({"doubleValue": 10**400}, math.inf),
        ({"doubleValue": -(10**400)}, -math.inf),
        ({"boolValue": False}, False),
        ({"boolValue": "false"}, None),
        ({"stringValue": ""}, ""),
        ({"stringValue": 7}, None),
        ({"bytesValue": "AQI="}, b"\x01\x02"),
        ({"bytesValue": "AQI"}, b"\x01\x02"),
        ({"bytesValue": "-_-_"}, b"\xfb\xff\xbf"),
        ({"bytesValue": "?"}, None),
        ({"bytesValue": "\u00e9"}, None),
        ({"bytesValue": 7}, None),
        ({"arrayValue": {"values": [{"intValue": "1"}, {}, {"stringValue": "a"}]}}, (1, None, "a")),
        ({"arrayValue": {}}, ()),
        ({"arrayValue": {"values": None}}, ()),
        ({"arrayValue": {"values": 1}}, None),
        ({"arrayValue": []}, None),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"boolValue": True}}]}}, {"a": True}),
        ({"kvlistValue": {}}, {}),
        ({}, None),
        (None, None),
        ("bare", None),
        ({"newerValue": 1}, None),
        ({"newerField": 1, "intValue": 7}, 7),
    ],
    ids=str,
)
def test_attribute_value_is_read_or_null(written: object, expected: object) -> None:
    found = value_of(written)
    assert (found, type(found)) == (expected, type(expected))


def test_not_a_number_is_read_as_a_word_and_bare() -> None:
    for written in ('"NaN"', "NaN"):
        body = json.dumps(document(traces(otlp_span(name="here")))).replace(
            '"name": "here"', f'"attributes": [{{"key": "x", "value": {{"doubleValue": {written}}}}}]'
        )
        found = only(spans_from_json(body.encode(), LIMITS)).attributes["x"]
        assert isinstance(found, float)
        assert math.isnan(found)


def test_half_a_surrogate_pair_of_javascript_costs_no_span() -> None:
    assert read(name="lo\ud83dad").name == "lo\ud83dad"  # json.dumps writes it as \ud83d, as JavaScript does


def test_instrumentation_libraries_are_read_as_scopes() -> None:
    written = document(traces(otlp_span(), scope="shop.etl"))
    [of_scope] = written["resourceSpans"][0].pop("scopeSpans")
    of_scope["instrumentationLibrary"] = of_scope.pop("scope")
    written["resourceSpans"][0]["instrumentationLibrarySpans"] = [of_scope]
    assert only(spans_from_json(json.dumps(written).encode(), LIMITS)).scope_name == "shop.etl"


@pytest.mark.parametrize("scope", [None, "x", {"name": None}, {"name": 7}])
def test_scope_without_a_name_has_an_empty_one(scope: object) -> None:
    written = document(traces(otlp_span()))
    written["resourceSpans"][0]["scopeSpans"][0]["scope"] = scope
    assert only(spans_from_json(json.dumps(written).encode(), LIMITS)).scope_name == ""


def test_fields_that_nobody_knows_are_ignored_everywhere() -> None:
    plain = document(traces(otlp_span(events=[{"name": "x"}], links=[{"trace_id": TRACE, "span_id": SPAN}])))
    odd = json.loads(json.dumps(plain))
    of_resource = odd["resourceSpans"][0]
    of_scope = of_resource["scopeSpans"][0]
    span = of_scope["spans"][0]
    for place in (odd, of_resource, of_resource["resource"], of_scope, of_scope["scope"], span, span["events"][0]):
        place["newer"] = {"deep": [1]}
    decoded = [spans_from_json(json.dumps(written).encode(), LIMITS) for written in (plain, odd)]
    assert decoded[0] == decoded[1]


def test_null_stands_for_what_is_missing() -> None:
    span = read(name=None, attributes=None, events=None, links=None, kind=None, flags=None)
    assert (span.name, span.attributes, span.events, span.links) == ("", {}, (), ())


def test_link_with_an_empty_span_id_costs_no_span() -> None:
    [link] = read(links=[{"traceId": TRACE.hex(), "spanId": ""}]).links
    assert (link.trace_id, link.span_id) == (TRACE.hex(), "")


def test_number_of_an_enumeration_may_be_written_as_a_float() -> None:
    """As some libraries write all numbers: a failed span would look like one that is fine."""
    span = read(kind=3.0, status={"code": 2.0, "message": "no"})
    assert (span.kind, span.status, span.status_message) == ("CLIENT", "ERROR", "no")


@pytest.mark.parametrize("written", [2.5, True, None, [2], float("nan")])
def test_what_is_no_number_of_an_enumeration_is_unspecified(written: object) -> None:
    span = read(kind=written, status={"code": written})
    assert (span.kind, span.status) == ("INTERNAL", "UNSET")
