"""An attribute that is read out of its bytes says what protobuf says, whether it was known before or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_runs.spans.decoded import RefusedError
from otel_runs.spans.from_otlp_protobuf import spans_from_protobuf
from otel_runs.spans.limits import Limits
from otel_runs.spans.protobuf_attributes import UNREADABLE, KnownPairs, attributes_from_messages, known_pairs
from otel_runs.spans.protobuf_wire import delimited
from tests.spans.otlp import LIMITS, SPAN, otlp_span, pairs, traces

MARK = "here a byte is changed"
TEXTS = st.text(max_size=6) | st.sampled_from(["", "otel_runs.kind", "x" * 127, "x" * 128, "y" * 20_000, "é" * 90])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 127, 128, -1]),
    st.floats(),
    TEXTS,
    st.binary(max_size=6),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
WHOLE = st.builds(lambda name, value: bytes(pairs({name: value})[0].SerializeToString()), TEXTS, VALUES)
FIELDS = st.builds(delimited, st.integers(1, 8), st.binary(max_size=8) | st.sampled_from([b"\n\x01a", b"\x18\x05"]))


@st.composite
def wire_pairs(draw: st.DrawFn) -> bytes:
    """Bytes that may be an attribute: whole ones, damaged ones, with fields that are unknown or come twice."""
    parts = draw(st.lists(st.one_of(WHOLE, WHOLE, FIELDS, st.binary(max_size=8)), min_size=1, max_size=3))
    wire = bytearray(b"".join(parts))
    if wire and draw(st.booleans()):
        wire[draw(st.integers(0, len(wire) - 1))] = draw(st.integers(0, 255))
    return bytes(wire[: draw(st.integers(0, len(wire)))] if draw(st.booleans()) else wire)


def by_protobuf(wire: list[bytes], limits: Limits) -> str | None:
    """What protobuf and its objects say; None where it cannot read one of them."""
    try:
        messages = [KeyValue.FromString(pair) for pair in wire[: limits.attributes]]
    except ProtobufError:
        return None
    return shown(attributes_from_messages(messages, limits))


def by_bytes(known: KnownPairs, wire: list[bytes]) -> str | None:
    try:
        return shown(known.attributes(wire))
    except RefusedError:
        return None


def shown(attributes: Any) -> str:
    """1, 1.0 and True are equal, and not the same; NaN is the same, and not equal."""
    return repr(dict(attributes))


@settings(deadline=None, max_examples=300)
@given(
    st.lists(wire_pairs(), max_size=5),
    st.sampled_from([LIMITS, LIMITS._replace(text=3), LIMITS._replace(depth=0), LIMITS._replace(attributes=2)]),
)
def test_attributes_out_of_bytes_are_those_of_protobuf(wire: list[bytes], limits: Limits) -> None:
    known = KnownPairs(limits)
    expected = by_protobuf(wire, limits)
    assert by_bytes(known, wire) == expected
    assert by_bytes(known, wire) == expected  # now that they are known
    assert by_bytes(known, wire[::-1]) == by_protobuf(wire[::-1], limits)


def test_what_is_remembered_is_bounded_in_number_and_size() -> None:
    known = KnownPairs(LIMITS)
    for number in range(10_000):
        known.attributes([pair.SerializeToString() for pair in pairs({"n": number, "long": f"{number}" + "x" * 200})])
        assert len(known._known) <= 4_096
    assert max(map(len, known._known)) <= 128


def test_mapping_is_never_shared_by_two_spans() -> None:
    attributes = pairs({"mapping": {"a": 1}, "list": [{"a": 1}]})
    one, other = spans_from_protobuf(traces(*[otlp_span(attributes=attributes)] * 2).SerializeToString(), LIMITS).spans
    assert one.attributes == other.attributes == {"mapping": {"a": 1}, "list": ({"a": 1},)}
    assert one.attributes["mapping"] is not other.attributes["mapping"]
    assert one.attributes["list"][0] is not other.attributes["list"][0]  # type: ignore[index]  # asserted above


def test_attribute_that_is_known_under_other_limits_is_cut_under_these() -> None:
    body = traces(otlp_span(attributes=pairs({"a": "a text"}))).SerializeToString()
    for text in (100, 3, 0, 100):
        [span] = spans_from_protobuf(body, LIMITS._replace(text=text)).spans
        assert span.attributes == {"a": "a text"[:text]}


def at_rest_or_not(limits: Limits) -> Iterator[bool]:
    """Both ways to read a body of these limits, one after the other."""
    known = known_pairs(limits)
    for is_at_rest in (False, True):
        known._rest_bytes = 1_000_000 if is_at_rest else 0
        yield is_at_rest
    known._rest_bytes = 0


@pytest.mark.parametrize(
    "fields",
    [
        {"attributes": pairs({"x": MARK})},
        {"attributes": pairs({MARK: 1})},
        {"attributes": pairs({"x": [MARK]})},
        {"events": [{"name": "x", "attributes": pairs({"x": MARK})}]},
        {"links": [{"attributes": pairs({"x": MARK})}]},
    ],
    ids=["value", "key", "list", "event", "link"],
)
def test_attribute_that_is_not_utf8_costs_its_span_only(fields: dict[str, Any]) -> None:
    message = traces(otlp_span(name="before"), otlp_span(**fields), otlp_span(name="after"))
    body = bytes(message.SerializeToString()).replace(MARK.encode(), b"\xff" * len(MARK))
    with pytest.raises(ProtobufError):
        TracesData.FromString(body)
    limits = LIMITS._replace(links=7)  # whose known pairs are nobody else's
    for _ in at_rest_or_not(limits):
        decoded = spans_from_protobuf(body, limits)
        assert [span.name for span in decoded.spans] == ["before", "after"]
        assert decoded.refused == [f"Span {SPAN.hex()}: {UNREADABLE}"]


def test_spans_are_the_same_at_rest() -> None:
    attributes = pairs({"a": "text", "b": 1, "c": 0.5, "d": [True, None], "e": {"f": b"x"}, "g": ""})
    body = traces(
        otlp_span(attributes=[*attributes, *pairs({"a": "last"})], events=[{"attributes": attributes}]),
        otlp_span(links=[{"attributes": attributes}]),
    ).SerializeToString()
    limits = LIMITS._replace(links=8)
    found = [spans_from_protobuf(body, limits) for _ in at_rest_or_not(limits)]
    assert found[0] == found[1]
    assert found[0].spans[0].attributes["a"] == "last"


def test_bytes_are_not_looked_up_where_few_are_known_until_much_else_was_read() -> None:
    known = KnownPairs(LIMITS)
    for number in range(4_096):
        assert not known.rests(1_000)
        known.attributes([pairs({"n": number})[0].SerializeToString()])
    bodies = 0
    while known.rests(1_000_000):
        bodies += 1
        assert bodies < 100
    assert bodies > 10
    assert known.attributes([pairs({"n": 1})[0].SerializeToString()]) == {"n": 1}


def test_bytes_are_looked_up_where_most_are_known() -> None:
    known = KnownPairs(LIMITS)
    for number in range(20_000):
        assert not known.rests(0)
        known.attributes([pairs({"n": number % 100})[0].SerializeToString()])
