"""A span that cannot be kept is refused by itself, with the reason; what is no OTLP at all is refused as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_runs.errors import DecodeError
from otel_runs.spans.decoded import Decoded
from otel_runs.spans.from_otlp_json import spans_from_json, started_spans_from_json_logs
from otel_runs.spans.from_otlp_protobuf import spans_from_protobuf, started_spans_from_protobuf_logs
from tests.spans.otlp import DECODERS, LIMITS, PARENT, SPAN, document, otlp_span, traces

BAD = [
    ({"trace_id": b""}, "trace_id is '' (str); expected 16 bytes, not all zero."),
    ({"trace_id": bytes(16)}, f"trace_id is '{'0' * 32}' (str); expected 16 bytes, not all zero."),
    ({"trace_id": b"\x01" * 8}, f"trace_id is '{'01' * 8}' (str); expected 16 bytes, not all zero."),
    ({"parent_span_id": b"\x01\x02"}, "parent_span_id is '0102' (str); expected 8 bytes, or none of a root span."),
    ({"start_time_unix_nano": 0}, "the start time is missing or 0; expected nanoseconds since 1970."),
]


@pytest.mark.parametrize("inlet", DECODERS)
@pytest.mark.parametrize(("fields", "why"), BAD)
def test_span_that_cannot_be_kept_is_refused_and_its_neighbours_are_kept(
    inlet: str, fields: dict[str, Any], why: str
) -> None:
    message = traces(otlp_span(name="before"), otlp_span(**fields), otlp_span(name="after"))
    decoded = DECODERS[inlet](message, LIMITS)
    assert [span.name for span in decoded.spans] == ["before", "after"]
    assert decoded.refused == [f"Span {SPAN.hex()}: {why}"]


@pytest.mark.parametrize("inlet", DECODERS)
@pytest.mark.parametrize("span_id", [b"", bytes(8), b"\x01" * 7])
def test_span_without_an_id_is_refused(inlet: str, span_id: bytes) -> None:
    decoded = DECODERS[inlet](traces(otlp_span(span_id=span_id), otlp_span()), LIMITS)
    assert len(decoded.spans) == 1
    [why] = decoded.refused
    assert f"span_id is '{span_id.hex()}' (str); expected 8 bytes" in why


@pytest.mark.parametrize("inlet", DECODERS)
def test_refusal_of_an_endless_id_is_a_short_message(inlet: str) -> None:
    decoded = DECODERS[inlet](traces(otlp_span(trace_id=b"\xab" * 100_000, span_id=b"\xcd" * 100_000)), LIMITS)
    [why] = decoded.refused
    assert len(why) < 200


@pytest.mark.parametrize("inlet", DECODERS)
def test_span_that_ends_before_it_starts_is_kept(inlet: str) -> None:
    decoded = DECODERS[inlet](traces(otlp_span(end_time_unix_nano=1)), LIMITS)
    assert (decoded.spans[0].end_ns, decoded.refused) == (1, [])


@pytest.mark.parametrize("inlet", DECODERS)
def test_span_without_an_end_has_only_started(inlet: str) -> None:
    assert DECODERS[inlet](traces(otlp_span(end_time_unix_nano=0)), LIMITS).spans[0].end_ns is None


@pytest.mark.parametrize("inlet", DECODERS)
def test_parent_of_zeros_is_no_parent(inlet: str) -> None:
    span = DECODERS[inlet](traces(otlp_span(parent_span_id=bytes(8), flags=0x300)), LIMITS).spans[0]
    assert (span.parent_span_id, span.parent_is_remote) == (None, None)


@pytest.mark.parametrize("inlet", DECODERS)
@pytest.mark.parametrize(("flags", "is_remote"), [(0, None), (1, None), (0x101, False), (0x301, True), (0x201, None)])
def test_parent_is_remote_only_where_the_flags_tell(inlet: str, flags: int, *, is_remote: bool | None) -> None:
    span = DECODERS[inlet](traces(otlp_span(parent_span_id=PARENT, flags=flags)), LIMITS).spans[0]
    assert span.parent_is_remote is is_remote


@pytest.mark.parametrize("inlet", DECODERS)
@pytest.mark.parametrize("number", [0, 6, 99])
def test_kind_and_status_of_a_number_nobody_knows_are_the_usual_ones(inlet: str, number: int) -> None:
    span = DECODERS[inlet](traces(otlp_span(kind=number, status={"code": number})), LIMITS).spans[0]
    assert (span.kind, span.status) == ("INTERNAL", "UNSET")


JSON_REFUSALS = [
    ({"traceId": "xyz"}, "traceId is 'xyz' (str); expected hexadecimal digits."),
    ({"spanId": 7}, "spanId is 7 (int); expected hexadecimal digits."),
    (
        {"startTimeUnixNano": "-5"},
        "startTimeUnixNano is '-5' (str); expected nanoseconds since 1970, as a number or text.",
    ),
    ({"startTimeUnixNano": "soon"}, "startTimeUnixNano is 'soon' (str); expected nanoseconds"),
    ({"endTimeUnixNano": str(2**64)}, "endTimeUnixNano is '18446744073709551616' (str)"),
    ({"endTimeUnixNano": True}, "endTimeUnixNano is True (bool)"),
    ({"attributes": "many"}, "attributes is 'many' (str); expected a list of objects with key and value."),
    ({"attributes": ["many"]}, "an attribute is 'many' (str); expected an object with key and value."),
    ({"attributes": [{"key": 1, "value": {}}]}, "an attribute is {'key': 1, 'value': {}} (dict)"),
    ({"events": [1]}, "events is [1] (list); expected a list of objects."),
    ({"links": {"traceId": ""}}, "links is {'traceId': ''} (dict); expected a list of objects."),
]


@pytest.mark.parametrize(("fields", "why"), JSON_REFUSALS)
def test_json_of_a_wrong_type_refuses_its_span_only(fields: dict[str, Any], why: str) -> None:
    written = document(traces(otlp_span(name="before"), otlp_span(), otlp_span(name="after")))
    written["resourceSpans"][0]["scopeSpans"][0]["spans"][1].update(fields)
    decoded = spans_from_json(json.dumps(written).encode(), LIMITS)
    assert [span.name for span in decoded.spans] == ["before", "after"]
    [message] = decoded.refused
    assert message.startswith("Span ")
    assert why in message


def test_json_span_that_is_no_object_is_refused_by_itself() -> None:
    written = document(traces(otlp_span()))
    written["resourceSpans"][0]["scopeSpans"][0]["spans"].insert(0, "load")
    decoded = spans_from_json(json.dumps(written).encode(), LIMITS)
    assert (len(decoded.spans), decoded.refused) == (1, ["Span None: it is 'load' (str); expected an object."])


@pytest.mark.parametrize("inlet", DECODERS)
def test_span_without_an_id_is_told_by_its_name(inlet: str) -> None:
    decoded = DECODERS[inlet](traces(otlp_span(span_id=b"", name="loäd")), LIMITS)
    assert decoded.refused == [r"Span named 'lo\xe4d': span_id is '' (str); expected 8 bytes, not all zero."]


NO_OTLP_JSON = [
    (b"", "no JSON"),
    (b"{", "no JSON"),
    (b"\xff\xfe{", "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "no JSON"),
    (b"9" * 5_000, "no JSON"),
    (b"[]", r"expected an object"),
    (b'{"resourceSpans": "x"}', r"resourceSpans is 'x' \(str\); expected a list"),
    (b'{"resourceSpans": [1]}', r"resourceSpans is 1 \(int\); expected an object"),
    (b'{"resourceSpans": [{"resource": 1}]}', r"is 1 \(int\); expected an object"),
    (b'{"resourceSpans": [{"resource": {"attributes": 1}}]}', r"attributes is 1 \(int\); expected a list"),
    (b'{"resourceSpans": [{"scopeSpans": [{"spans": {}, "x": 1}, 1]}]}', r"scopeSpans is 1 \(int\)"),
    (b'{"resourceSpans": [{"scopeSpans": [{"spans": "x"}]}]}', r"spans is 'x' \(str\); expected a list"),
]


@pytest.mark.parametrize(("body", "why"), NO_OTLP_JSON, ids=range(len(NO_OTLP_JSON)))
def test_json_that_is_no_otlp_is_refused_with_the_reason(body: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        spans_from_json(body, LIMITS)


def test_protobuf_that_is_no_otlp_is_refused_with_the_reason() -> None:
    with pytest.raises(DecodeError, match=r"The body \(4 bytes\) is no OTLP protobuf message TracesData"):
        spans_from_protobuf(b"\xff\xff\xff\xff", LIMITS)
    with pytest.raises(DecodeError, match="is no OTLP protobuf message LogsData"):
        started_spans_from_protobuf_logs(b"\xff\xff\xff\xff", LIMITS)


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=10,
)
# A valid document in which anything may stand anywhere: what a fuzzer of bytes alone never reaches.
FIELDS = [
    "traceId",
    "spanId",
    "parentSpanId",
    "name",
    "kind",
    "flags",
    "status",
    "code",
    "message",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "timeUnixNano",
    "observedTimeUnixNano",
    "eventName",
    "attributes",
    "key",
    "value",
    "stringValue",
    "intValue",
    "doubleValue",
    "boolValue",
    "bytesValue",
    "arrayValue",
    "kvlistValue",
    "values",
    "events",
    "links",
    "resourceSpans",
    "scopeSpans",
    "spans",
    "resource",
    "scope",
    "instrumentationLibrary",
    "instrumentationLibrarySpans",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    "instrumentationLibraryLogs",
]
LEAVES = st.one_of(
    JSON_VALUES,
    st.sampled_from(["0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "otel_runs.run.started", "event.name"]),
    st.sampled_from([1, 10**18, str(10**18), "SPAN_KIND_SERVER", "NaN", 10**400]),
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)),
    max_leaves=30,
)


def tried(decode: Any, body: bytes) -> Decoded | None:
    """What the decoder makes of the body; any exception but DecodeError fails the test."""
    try:
        decoded = decode(body, LIMITS)
    except DecodeError:
        return None
    assert isinstance(decoded, Decoded)
    return decoded


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        DOCUMENTS,
        st.fixed_dictionaries({"resourceSpans": DOCUMENTS}),
        spans := st.builds(
            lambda entries: {
                "resourceSpans": [{"scopeSpans": [{"spans": entries}]}],
                "resourceLogs": [{"scopeLogs": [{"logRecords": entries}]}],
            },
            st.lists(st.dictionaries(st.sampled_from(FIELDS), DOCUMENTS, max_size=8), max_size=3),
        ),
    )
)
def test_any_json_gives_spans_or_a_decode_error(written: object) -> None:
    body = json.dumps(written).encode()
    for decode in (spans_from_json, started_spans_from_json_logs):
        tried(decode, body)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_give_spans_or_a_decode_error(body: bytes) -> None:
    for decode in (
        spans_from_json,
        started_spans_from_json_logs,
        spans_from_protobuf,
        started_spans_from_protobuf_logs,
    ):
        tried(decode, body)


WHOLE = traces(otlp_span(parent_span_id=PARENT, flags=0x300, events=[{"name": "x"}], links=[{"span_id": SPAN}]))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, WHOLE.ByteSize() - 1), st.integers(0, 255), st.integers(1, WHOLE.ByteSize()))
def test_protobuf_with_a_changed_byte_or_a_lost_end_gives_spans_or_a_decode_error(
    place: int, byte: int, length: int
) -> None:
    body = bytearray(WHOLE.SerializeToString())
    body[place] = byte
    decoded = tried(spans_from_protobuf, bytes(body[:length]))
    assert decoded is None or len(decoded.spans) + len(decoded.refused) <= 1
