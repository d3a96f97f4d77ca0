"""Export requests of the tests, and what was stored of them, read as a user reads it."""

from __future__ import annotations

from itertools import count

from google.protobuf.message import Message
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.spans.otlp import START, otlp_span, traces

_NUMBERS = count(1)


def new_id(kind: int) -> bytes:
    """Eight bytes that nothing else in these tests has."""
    return (next(_NUMBERS) + (kind << 48)).to_bytes(8, "big")


def new_trace(steps: int = 2, *, name: str = "nightly") -> list[OtlpSpan]:
    """The spans of a new run with some steps."""
    trace_id, root = new_id(1) + new_id(2), new_id(3)
    spans = [
        otlp_span(
            trace_id=trace_id,
            span_id=new_id(4),
            parent_span_id=root,
            name=f"step {number}",
            start_time_unix_nano=START + number,
            end_time_unix_nano=START + number + 1000,
        )
        for number in range(steps)
    ]
    return [*spans, otlp_span(trace_id=trace_id, span_id=root, name=name)]


def new_request(steps: int = 2, *, name: str = "nightly") -> Message:
    """An export request of a new run."""
    return traces(*new_trace(steps, name=name))
