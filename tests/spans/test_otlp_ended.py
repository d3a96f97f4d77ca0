"""An ended span that travels as a log record gives the rows that it would give as a span."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from otel_runs import attributes as key
from otel_runs.mapping.facts import facts_from_span
from otel_runs.mapping.vocabulary import COLUMNS, is_read
from otel_runs.spans.from_otlp_json import json_from_bytes, started_spans_from_document
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import NO_ATTRIBUTES, Event, Link, Resource, Span
from otel_runs.spans.to_otlp_json import lines_from_spans
from otel_runs.spans.to_otlp_logs import request_from_spans
from otel_runs.spans.told import end_from_span
from tests.spans.otlp import LOG_DECODERS, logs, only
from tests.spans.test_otlp_started import record

LIMITS = Limits(10_000, 10_000, 10_000, 10_000_000, 64)
END = 1_760_000_001_123_456_789

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(TEXTS, max_size=3).map(tuple),
)
READ = [source.key for sources in COLUMNS.values() for source in sources]
WORDS = st.sampled_from(["run", "step", "model", "llm", "failed", "success", "timeout", "cancelled", "chat", "17"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from([*READ, f"{key.METADATA_PREFIX}a", "gen_ai.input.messages"]), VALUES | WORDS, max_size=6
)
EXCEPTIONS = st.dictionaries(
    st.sampled_from([key.EXCEPTION_TYPE, key.EXCEPTION_MESSAGE, key.EXCEPTION_STACKTRACE, "exception.escaped"]),
    VALUES,
    max_size=4,
)
TIMES = st.integers(1, 2**63 - 1)


@st.composite
def ended_spans(draw: st.DrawFn) -> Span:
    """Ended spans, with what the mapping reads, and events that it does not."""
    parent = draw(st.sampled_from([None, "b7ad6b7169203331"]))
    return Span(
        "0af7651916cd43dd8448eb211c80319c",
        "00f067aa0ba902b7",
        parent,
        draw(TEXTS),
        draw(st.sampled_from(["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"])),
        draw(TIMES),
        draw(TIMES),
        draw(st.sampled_from(["UNSET", "OK", "ERROR"])),
        draw(st.none() | TEXTS.filter(bool)),
        draw(ATTRIBUTES),
        draw(st.lists(st.builds(Event, st.sampled_from(["exception", "retry"]), TIMES, EXCEPTIONS), max_size=3)),
        draw(st.lists(st.just(Link("0" * 31 + "1", "0" * 15 + "1", NO_ATTRIBUTES)), max_size=1)),
        Resource({key.SERVICE_NAME: "shop", **draw(st.dictionaries(st.sampled_from(READ), WORDS, max_size=1))}),
        "tests",
        draw(st.sampled_from([None, True, False])) if parent else None,
        None,
        is_sampled=False,
    )


@settings(deadline=None, max_examples=300)
@given(ended_spans())
@pytest.mark.parametrize("inlet", LOG_DECODERS)
def test_record_of_an_ended_span_gives_the_rows_of_the_span(inlet: str, span: Span) -> None:
    message = LogsData.FromString(request_from_spans([span], end_from_span, is_read).SerializeToString())
    found = only(LOG_DECODERS[inlet](message, LIMITS))

    assert facts_from_span(found) == facts_from_span(span)
    assert found._replace(attributes={}, events=(), links=()) == span._replace(attributes={}, events=(), links=())
    assert found.attributes.keys() == {name for name in span.attributes if is_read(name)}


@settings(deadline=None, max_examples=150)
@given(ended_spans())
def test_line_of_the_spool_gives_the_rows_of_the_span_and_no_trace(span: Span) -> None:
    [line] = lines_from_spans([span])
    document = json_from_bytes(line.text)

    assert "resourceSpans" not in document
    assert line.ended == 1
    found = only(started_spans_from_document(document, LIMITS))
    assert facts_from_span(found) == facts_from_span(span)
    assert (found.attributes, found.is_sampled) == (span.attributes, False)


def test_sampled_and_other_spans_stand_on_lines_of_their_own() -> None:
    span = Span("1" * 32, "2" * 16, None, "a", "INTERNAL", 1, 2, "OK", None, {}, (), (), Resource({}), "t")
    others = [span._replace(span_id="3" * 16, is_sampled=False), span._replace(span_id="4" * 16, end_ns=None)]

    lines = list(lines_from_spans([span, *others]))

    assert [(b"resourceSpans" in line.text, line.ended) for line in lines] == [(True, 1), (False, 1)]


@pytest.mark.parametrize("inlet", LOG_DECODERS)
@pytest.mark.parametrize("start", [None, "soon", 0, True])
def test_ended_span_that_does_not_say_when_it_started_is_refused(inlet: str, start: object) -> None:
    about = {} if start is None else {key.SPAN_START: start}
    ended = record(key.EVENT_SPAN_ENDED, about, time_unix_nano=END)
    [message] = LOG_DECODERS[inlet](logs(ended), LIMITS).refused
    assert "otel_runs.span.ended with" in message
    assert message.endswith("expected otel_runs.span.start_ns, the start in nanoseconds since 1970.")


@pytest.mark.parametrize("inlet", LOG_DECODERS)
@pytest.mark.parametrize("odd", [7, "FAILED", ["ERROR"], {"a": "b"}])
def test_what_it_says_of_its_end_in_a_wrong_type_is_left_out(inlet: str, odd: object) -> None:
    about: dict[str, Any] = {
        key.SPAN_START: 1,
        key.SPAN_STATUS: odd,
        key.SPAN_STATUS_MESSAGE: 7,
        key.SPAN_EXCEPTION: "it failed",
    }
    ended = record(key.EVENT_SPAN_ENDED, about, time_unix_nano=END)
    span = only(LOG_DECODERS[inlet](logs(ended), LIMITS))

    assert (span.status, span.status_message, span.events, span.attributes) == ("UNSET", None, (), {})
    assert (span.start_ns, span.end_ns, span.heartbeat_ns, span.is_sampled) == (1, END, None, False)
