"""A large request is read piece by piece, and says the same as in one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_runs import attributes as key
from otel_runs.errors import DecodeError
from otel_runs.spans.decoded import Decoded
from otel_runs.spans.from_otlp_protobuf import (
    PIECE_BYTES,
    parts_from_protobuf,
    spans_from_protobuf,
    started_spans_from_protobuf_logs,
)
from otel_runs.spans.protobuf_pieces import pieces
from tests.spans.otlp import LIMITS, SPAN, START, TRACE, logs, otlp_span, pairs, traces

NAME = "n" * 300
LARGE = 6 * PIECE_BYTES // len(NAME)
"""Spans that make a body of more than two pieces."""


def large(*, count: int = LARGE) -> Any:
    return traces(*[otlp_span(name=f"{NAME} {number}") for number in range(count)])


def together(parts: list[Decoded]) -> Decoded:
    return Decoded(
        [span for part in parts for span in part.spans],
        [why for part in parts for why in part.refused],
        sum(part.ignored for part in parts),
    )


def test_large_body_is_read_in_parts_that_hold_the_same_spans() -> None:
    message = large()
    message.resource_spans.add().CopyFrom(message.resource_spans[0])
    message.resource_spans[1].resource.attributes[0].value.string_value = "another"
    body = message.SerializeToString()
    parts = list(parts_from_protobuf("traces", body, LIMITS))
    assert len(parts) > 5
    assert max(len(part.spans) for part in parts) < LARGE / 2
    assert together(parts) == spans_from_protobuf(body, LIMITS)


def test_large_body_of_log_records_is_read_in_parts_too() -> None:
    ours = LogRecord(
        trace_id=TRACE, span_id=SPAN, time_unix_nano=START, attributes=pairs({key.EVENT_NAME: key.EVENT_RUN_STARTED})
    )
    body = logs(*[ours, LogRecord(severity_text=NAME)] * LARGE).SerializeToString()
    parts = list(parts_from_protobuf("logs", body, LIMITS))
    assert len(parts) > 2
    assert together(parts) == started_spans_from_protobuf_logs(body, LIMITS)


def test_large_body_that_is_damaged_at_its_end_is_refused_before_its_first_part() -> None:
    body = large().SerializeToString()
    with pytest.raises(
        DecodeError, match=f"The body \\({len(body) - 1} bytes\\) is no OTLP protobuf message TracesData"
    ):
        parts_from_protobuf("traces", body[:-1], LIMITS)


def test_span_of_a_large_body_that_cannot_be_read_costs_itself_only() -> None:
    message = large()
    message.resource_spans[0].scope_spans[0].spans[LARGE // 2].name = "here"
    body = message.SerializeToString().replace(b"here", b"\xffere")
    decoded = together(list(parts_from_protobuf("traces", body, LIMITS)))
    assert (len(decoded.spans), len(decoded.refused)) == (LARGE - 1, 1)


GROUP = b"\x4b\x08\x01\x12\x01x\x1d\x00\x00\x00\x00\x21" + bytes(8) + b"\x53\x54\x4c"
"""Of number 9, with a field of each wire type and a group in it."""


def test_group_that_protobuf_skips_is_skipped_in_a_large_body_too() -> None:
    body = GROUP + large().SerializeToString() + GROUP
    parts = list(parts_from_protobuf("traces", body, LIMITS))
    assert len(parts) > 5
    assert together(parts) == spans_from_protobuf(body, LIMITS)


@pytest.mark.parametrize("end", [GROUP[:-1], b"\x4b" + b"\x08\x01" * 1_001 + b"\x4c"])
def test_group_without_its_end_or_of_very_many_fields_is_refused(end: bytes) -> None:
    with pytest.raises(DecodeError, match="is no OTLP protobuf message TracesData: "):
        parts_from_protobuf("traces", large().SerializeToString() + end, LIMITS)


def test_what_pieces_have_in_common_does_not_multiply() -> None:
    body = traces(*[otlp_span()] * 1_000, resource={"service.name": "x" * 10_000}).SerializeToString()
    cut = list(pieces(body, 100))
    assert len(cut) > 1
    assert sum(map(len, cut)) < 3 * len(body)


WIRE = st.binary(max_size=40) | st.sampled_from(
    [
        b"",
        traces(otlp_span(), otlp_span(name="x" * 200), otlp_span()).SerializeToString(),
        traces(*[otlp_span()] * 20, resource={"service.name": "x" * 50}).SerializeToString(),
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(WIRE, max_size=4), st.integers(1, 400), st.integers(1, 500))
def test_pieces_say_what_the_whole_says(parts: list[bytes], size: int, length: int) -> None:
    body = b"".join(parts)[:length]
    try:
        whole = TracesData.FromString(body)
        found = [TracesData.FromString(piece) for piece in pieces(body, size)]
    except Exception:  # noqa: BLE001  protobuf and we may find different things wrong; then the body is read whole
        return
    assert spans_of(found) == spans_of([whole])


def spans_of(messages: list[Any]) -> list[bytes]:
    """Each span with all that is around it."""
    return [
        bytes(resource.resource.SerializeToString())
        + scope.scope.SerializeToString()
        + f"{resource.schema_url} {scope.schema_url}".encode()
        + span.SerializeToString()
        for message in messages
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
