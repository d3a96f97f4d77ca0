"""Neutral spans written as OTLP JSON lines and read again are the same spans."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_runs import attributes as key
from otel_runs.spans.from_otlp_json import json_from_bytes, spans_from_document, started_spans_from_document
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import NO_ATTRIBUTES, Event, Link, Resource, Span, StatusCode
from otel_runs.spans.to_otlp_json import lines_from_spans

LIMITS = Limits(10_000, 10_000, 10_000, 10_000_000, 64)

TEXTS = st.text(st.characters(), max_size=12)  # half surrogate pairs among them
INTEGERS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.one_of(TEXTS, st.booleans(), INTEGERS, st.floats(allow_nan=False), st.binary(max_size=12), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.dictionaries(TEXTS, inner, min_size=1, max_size=3)
    ),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=4)
TIMES = st.integers(1, 2**64 - 1)
TRACES = st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}")
STATUSES: list[StatusCode] = ["UNSET", "OK", "ERROR"]
SPANS = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")


@st.composite
def neutral_spans(draw: st.DrawFn) -> Span:
    """Any ended span."""
    parent = draw(st.none() | SPANS)
    return Span(
        trace_id=draw(TRACES),
        span_id=draw(SPANS),
        parent_span_id=parent,
        name=draw(TEXTS),
        kind=draw(st.sampled_from(["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"])),
        start_ns=draw(TIMES),
        end_ns=draw(TIMES),
        status=draw(st.sampled_from(STATUSES)),
        status_message=draw(st.none() | TEXTS.filter(bool)),
        attributes=draw(ATTRIBUTES),
        events=draw(st.lists(st.builds(Event, TEXTS, TIMES, ATTRIBUTES), max_size=2).map(lambda found: found or ())),
        links=draw(st.lists(st.builds(Link, TRACES, SPANS, ATTRIBUTES), max_size=2).map(lambda found: found or ())),
        resource=draw(st.builds(Resource, ATTRIBUTES)),
        scope_name=draw(TEXTS),
        parent_is_remote=draw(st.sampled_from([None, True, False])) if parent else None,
    )


def span(**changes: Any) -> Span:
    """An ended step, with some fields changed."""
    usual = Span(
        "0af7651916cd43dd8448eb211c80319c",
        "00f067aa0ba902b7",
        "b7ad6b7169203331",
        "load",
        "INTERNAL",
        1_760_000_000_123_456_789,
        1_760_000_001_123_456_789,
        "UNSET",
        None,
        NO_ATTRIBUTES,
        (),
        (),
        Resource({"service.name": "shop"}),
        "tests",
        False,
    )
    return usual._replace(**changes)


def read(spans: list[Span]) -> list[Span]:
    """What comes back."""
    found = []
    for line in lines_from_spans(spans):
        assert line.text.endswith(b"\n")
        assert line.text.count(b"\n") == 1
        document = json_from_bytes(line.text)
        traces, logs = spans_from_document(document, LIMITS), started_spans_from_document(document, LIMITS)
        assert traces.refused == logs.refused == []
        found += [*traces.spans, *logs.spans]
    return found


def types_of(value: object) -> object:
    """1, 1.0 and True are equal, and not the same."""
    if isinstance(value, dict):
        return {name: types_of(held) for name, held in value.items()}
    return [types_of(held) for held in value] if isinstance(value, tuple) else type(value)


@settings(deadline=None, max_examples=150)
@given(neutral_spans())
def test_span_written_and_read_is_the_same_span(given_span: Span) -> None:
    [found] = read([given_span])
    assert found == given_span
    assert types_of(found.attributes) == types_of(given_span.attributes)


@settings(deadline=None, max_examples=30)
@given(st.lists(neutral_spans(), max_size=6))
def test_several_spans_of_several_resources_all_come_back(spans: list[Span]) -> None:
    def by_text(found: list[Span]) -> list[str]:
        return sorted(map(repr, found))

    assert by_text(read(spans)) == by_text(spans)


def test_open_step_comes_back_without_an_end() -> None:
    started = span(end_ns=None, kind="CONSUMER", parent_is_remote=True, attributes={key.KIND: "step"})
    [found] = read([started])
    assert found._replace(heartbeat_ns=None) == started


@pytest.mark.parametrize("parent", [None, "b7ad6b7169203331"])
def test_open_run_comes_back_without_an_end(parent: str | None) -> None:
    is_remote = None if parent is None else False
    run = span(end_ns=None, parent_span_id=parent, parent_is_remote=is_remote, attributes={key.KIND: "run"})
    [found] = read([run])
    assert found._replace(heartbeat_ns=None) == run


def test_heartbeat_of_an_open_run_comes_back() -> None:
    run = span(end_ns=None, parent_span_id=None, parent_is_remote=None, heartbeat_ns=1_760_000_009_000_000_000)
    assert read([run]) == [run]


def test_not_a_number_is_not_a_number_again() -> None:
    [found] = read([span(attributes={"nan": math.nan, "inf": (math.inf, -math.inf)})])
    assert isinstance(found.attributes["nan"], float)
    assert math.isnan(found.attributes["nan"])
    assert found.attributes["inf"] == (math.inf, -math.inf)


def test_integer_beyond_64_bits_keeps_its_digits() -> None:
    [found] = read([span(attributes={"big": 2**70, "small": -(2**70)})])
    assert found.attributes == {"big": str(2**70), "small": str(-(2**70))}


def test_texts_of_a_class_of_their_own_are_texts() -> None:
    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    [found] = read([span(attributes={"name": Name("load")})])
    assert found.attributes == {"name": "load"}


def test_many_spans_are_cut_into_lines_and_none_is_lost() -> None:
    spans = [span(span_id=f"{number:016x}") for number in range(1, 1001)]
    lines = list(lines_from_spans(spans))
    assert len(lines) > 1
    assert sum(line.ended for line in lines) == 1000
    assert read(spans) == spans


def test_writing_needs_no_sdk() -> None:
    program = "import sys, otel_runs.spans.to_otlp_json; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
