"""A span is the same whether it comes from the SDK in process or over OTLP in either encoding."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_runs.spans.from_otlp_json import spans_from_json
from otel_runs.spans.from_otlp_protobuf import spans_from_protobuf
from otel_runs.spans.from_sdk import SdkSpans
from tests.spans.otlp import LIMITS, document

# What UTF-8 can hold: over OTLP, half a surrogate pair does not leave the process.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
SCALARS = st.one_of(TEXTS, st.booleans(), INTEGERS, FLOATS)
LISTS = st.one_of(*(st.lists(each, max_size=3).map(tuple) for each in (TEXTS, st.booleans(), INTEGERS, FLOATS)))
ATTRIBUTES = st.dictionaries(TEXTS.filter(bool), st.one_of(SCALARS, LISTS), max_size=4)
TIMES = st.integers(1, 2**64 - 1)
STATES = st.sampled_from([TraceState(), TraceState([("vendor", "value")])])
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    STATES,
)
STATUSES = st.one_of(
    st.sampled_from([Status(StatusCode.UNSET), Status(StatusCode.OK)]),
    st.one_of(st.none(), TEXTS).map(lambda text: Status(StatusCode.ERROR, text)),
)
RESOURCES = st.builds(Resource, ATTRIBUTES)
SCOPES = st.one_of(st.none(), st.builds(InstrumentationScope, TEXTS, TEXTS))


@st.composite
def sdk_spans(draw: st.DrawFn) -> ReadableSpan:
    """A finished span, as an SDK hands it to an exporter."""
    return ReadableSpan(
        draw(TEXTS),
        draw(CONTEXTS),
        parent=draw(st.one_of(st.none(), CONTEXTS)),
        resource=draw(RESOURCES),
        attributes=draw(ATTRIBUTES),
        events=draw(st.lists(st.builds(Event, TEXTS, ATTRIBUTES, TIMES), max_size=2)),
        links=draw(st.lists(st.builds(Link, CONTEXTS, ATTRIBUTES), max_size=2)),
        kind=draw(st.sampled_from(SpanKind)),
        status=draw(STATUSES),
        start_time=draw(TIMES),
        end_time=draw(TIMES),
        instrumentation_scope=draw(SCOPES),
    )


@settings(deadline=None, max_examples=150)
@given(sdk_spans())
def test_span_over_otlp_is_the_span_exported_in_process(span: ReadableSpan) -> None:
    # What travels as a span is sampled, or treated so.
    expected = SdkSpans().span_from_sdk(span)._replace(is_sampled=True)
    request = encode_spans([span])
    [over_protobuf], [over_hex, over_upper, over_base64] = (
        spans_from_protobuf(request.SerializeToString(), LIMITS).spans,
        [
            spans_from_json(json.dumps(document(request, ids=ids)).encode(), LIMITS).spans[0]
            for ids in ("hex", "HEX", "base64")
        ],
    )
    for found in (over_protobuf, over_hex, over_upper, over_base64):
        assert found == expected
        assert types_of(found.attributes) == types_of(expected.attributes)


def types_of(attributes: Any) -> dict[str, str]:
    """1, 1.0 and True are equal, and not the same."""
    return {
        name: f"{type(value).__name__} {[type(item).__name__ for item in value] if isinstance(value, tuple) else ''}"
        for name, value in attributes.items()
    }


@settings(deadline=None, max_examples=30)
@given(st.lists(sdk_spans(), min_size=2, max_size=6))
def test_spans_of_one_resource_share_one_object_over_both_encodings(spans: list[ReadableSpan]) -> None:
    request = encode_spans(spans)
    over_protobuf = spans_from_protobuf(request.SerializeToString(), LIMITS).spans
    over_json = spans_from_json(json.dumps(document(request)).encode(), LIMITS).spans
    for found in (over_protobuf, over_json):
        assert len(found) == len(spans)
        assert len({id(span.resource) for span in found}) == len(request.resource_spans)
