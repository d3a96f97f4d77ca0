"""One span that protobuf cannot read costs none of its neighbours."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError as ProtobufError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_runs import attributes as key
from otel_runs.errors import DecodeError
from otel_runs.spans.decoded import Decoded
from otel_runs.spans.from_otlp_protobuf import (
    parts_from_protobuf,
    spans_from_protobuf,
    started_spans_from_protobuf_logs,
)
from otel_runs.spans.protobuf_repair import repaired
from tests.spans.otlp import LIMITS, SPAN, START, TRACE, logs, otlp_span, pairs, traces

MARK = "here a byte is changed"


def not_utf8(message: Any) -> bytes:
    """The message with a byte in its marked text that no UTF-8 has; Collectors let it pass."""
    return bytes(message.SerializeToString()).replace(MARK.encode(), b"\xff" * len(MARK))


def nested(levels: int) -> dict[str, Any]:
    """Attributes with mappings in mappings."""
    value: Any = "innermost"
    for _ in range(levels):
        value = {"a": value}
    return {"x": value}


@pytest.mark.parametrize("text", ["name", "trace_state"])
def test_text_that_is_not_utf8_costs_its_span_only(text: str) -> None:
    message = traces(otlp_span(name="before"), otlp_span(**{text: MARK}), otlp_span(name="after"))
    message.resource_spans.add().CopyFrom(message.resource_spans[0])
    body = not_utf8(message)
    with pytest.raises(ProtobufError):
        TracesData.FromString(body)
    decoded = spans_from_protobuf(body, LIMITS)
    assert [span.name for span in decoded.spans] == ["before", "after"] * 2
    assert len({id(span.resource) for span in decoded.spans}) == 2
    assert decoded.spans[0].resource.attributes == {"service.name": "shop"}
    assert [why.partition(":")[0] for why in decoded.refused] == [f"Span {SPAN.hex()}"] * 2
    assert "not UTF-8" in decoded.refused[0]


def field(number: int, content: bytes) -> bytes:
    """A field that holds bytes, a text or a message."""
    length = bytearray()
    rest = len(content)
    while rest >= 0x80:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([number << 3 | 2, *length, rest]) + content


def deep_span(levels: int) -> bytes:
    """A span with mappings in mappings; protobuf's own library writes no more than it reads."""
    value = field(1, b"innermost")
    for _ in range(levels):
        value = field(6, field(1, field(1, b"a") + field(2, value)))
    return bytes(otlp_span().SerializeToString()) + field(9, field(1, b"x") + field(2, value))


def request(*spans: bytes) -> bytes:
    """A request of spans that are written already."""
    return field(1, field(2, b"".join(field(2, span) for span in spans)))


@pytest.mark.parametrize("levels", [32, 40, 1_000, 20_000])
def test_value_too_deep_for_protobuf_costs_its_span_only(levels: int) -> None:
    good = otlp_span().SerializeToString()
    decoded = spans_from_protobuf(request(good, deep_span(levels), good), LIMITS)
    assert (len(decoded.spans), len(decoded.refused)) == (2, 1)
    assert decoded.refused[0].startswith(f"Span {SPAN.hex()}: ")


def test_value_of_thirty_levels_is_read_whole() -> None:
    decoded = spans_from_protobuf(request(deep_span(30)), LIMITS)
    assert decoded.spans[0].attributes == nested(30)


def test_log_record_of_others_that_is_not_utf8_is_ignored_and_ours_is_read() -> None:
    ours = LogRecord(
        trace_id=TRACE, span_id=SPAN, time_unix_nano=START, attributes=pairs({key.EVENT_NAME: key.EVENT_RUN_STARTED})
    )
    body = not_utf8(logs(LogRecord(severity_text=MARK), ours, LogRecord(severity_text="INFO")))
    decoded = started_spans_from_protobuf_logs(body, LIMITS)
    assert (len(decoded.spans), decoded.refused, decoded.ignored) == (1, [], 2)


def test_resource_that_is_not_utf8_is_no_message() -> None:
    with pytest.raises(DecodeError, match="is no OTLP protobuf message TracesData"):
        spans_from_protobuf(not_utf8(traces(otlp_span(), resource={"service.name": MARK})), LIMITS)


def test_what_can_be_read_is_the_same_after_the_repair() -> None:
    message = traces(otlp_span(attributes=pairs(nested(3)), events=[{"name": "x"}], flags=7))
    message.resource_spans[0].schema_url = "x" * 300
    body = message.SerializeToString()
    assert repaired(body, TracesData, 2) == (body, [])


def test_messages_about_very_many_bad_spans_are_short() -> None:
    decoded = spans_from_protobuf(traces(*[otlp_span(trace_id=b"")] * 1_000).SerializeToString(), LIMITS)
    assert len(decoded.refused) == 1_000
    assert decoded.refused[100:] == ["A further span cannot be kept, as those before it."] * 900


BROKEN = not_utf8(traces(otlp_span(), otlp_span(name=MARK), otlp_span()))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(BROKEN) - 1), st.integers(0, 255), st.integers(1, len(BROKEN)))
def test_what_is_broken_elsewhere_too_gives_spans_or_a_decode_error(place: int, byte: int, length: int) -> None:
    body = bytearray(BROKEN)
    body[place] = byte
    try:
        decoded = spans_from_protobuf(bytes(body[:length]), LIMITS)
    except DecodeError:
        return
    assert isinstance(decoded, Decoded)


@pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
def test_zeros_are_no_message_of_any_size(size: int) -> None:
    with pytest.raises(DecodeError, match="is no OTLP protobuf message TracesData"):
        parts_from_protobuf("traces", bytes(size), LIMITS)
