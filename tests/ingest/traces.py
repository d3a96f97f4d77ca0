"""Traces as tests need them: small, with everything that makes the order of arrival matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from opentelemetry import trace

from otel_runs import attributes as key
from otel_runs.ids import row_id_from_span, run_id_from_trace
from otel_runs.ingest import Loss
from otel_runs.instrument.place import stamps_below
from otel_runs.mapping.facts import facts_from_span
from otel_runs.spans.span import NO_ATTRIBUTES, Event, Resource, Span, SpanKind, StatusCode

START = 1_760_000_000_000_000_000
SECOND = 1_000_000_000

RESOURCE = Resource({key.SERVICE_NAME: "shop"})
OTHER_RESOURCE = Resource({key.SERVICE_NAME: "billing", key.ENVIRONMENT: "prod", key.VCS_REVISION: "c" * 40})


def trace_id(number: int) -> str:
    """A trace id; neighbouring numbers differ in their first 8 bytes, and no span id is like the last 8.

    That of trace -1 begins with 8 bytes of zeros, as padded ids of 64 bits do.
    """
    return f"{number + 1:016x}{'f' * 15}{number + 1:x}"


def span_id(number: int) -> str:
    """A span id."""
    return f"{number + 1:016x}"


def span(
    number: int,
    parent: int | None = None,
    *,
    trace: int = 0,
    name: str = "",
    kind: SpanKind = "INTERNAL",
    status: StatusCode = "UNSET",
    attributes: Mapping[str, Any] = NO_ATTRIBUTES,
    events: Sequence[Event] = (),
    start: int | None = None,
    end: int | None = None,
    open_: bool = False,
    resource: Resource = RESOURCE,
    parent_is_remote: bool | None = None,
) -> Span:
    """A span: number and parent are positions in its trace, start and end seconds after START."""
    began = START + (number if start is None else start) * SECOND
    return Span(
        trace_id(trace),
        span_id(number),
        None if parent is None else span_id(parent),
        name or f"span {number}",
        kind,
        began,
        None if open_ else (START + (100 if end is None else end) * SECOND),
        status,
        None,
        attributes,
        events,
        (),
        resource,
        "tests",
        parent_is_remote,
    )


def run_id(trace: int = 0) -> str:
    """The id of a trace's root run."""
    return run_id_from_trace(trace_id(trace))


def row_id(number: int, trace: int = 0) -> str:
    """The id of the row of a span."""
    return row_id_from_span(trace_id(trace), span_id(number))


_FACTS = st.fixed_dictionaries(
    {},
    optional={
        key.ROWS_IN: st.integers(0, 5),
        key.ROWS_OUT: st.integers(0, 5),
        key.GEN_AI_INPUT_TOKENS: st.integers(0, 5),
        key.GEN_AI_OUTPUT_TOKENS: st.integers(0, 5),
        key.COST_USD: st.sampled_from([0.1, 0.2, 0.7]),
        key.STATUS: st.sampled_from(["skipped", "cancelled", "failed"]),
        key.STOP_REASON: st.sampled_from(["exit:3", "signal:SIGKILL", "error"]),
        key.ATTEMPT: st.integers(1, 3),
        key.MODEL_PATH: st.sampled_from(["staging.orders", "marts.revenue"]),
        key.MODEL_TAGS: st.sampled_from([("daily",), ("hourly", "core")]),
        key.MODEL_DEPENDS_ON: st.sampled_from([("raw.orders",), ("raw.orders", "staging.orders")]),
        key.VCS_REVISION: st.sampled_from(["a" * 40, "b" * 40]),
        f"{key.METADATA_PREFIX}batch": st.integers(0, 3),
    },
)
_KINDS: st.SearchStrategy[SpanKind] = st.sampled_from(["INTERNAL", "INTERNAL", "CLIENT", "SERVER", "CONSUMER"])
_STATUSES: st.SearchStrategy[StatusCode] = st.sampled_from(["UNSET", "UNSET", "UNSET", "OK", "ERROR"])
_KEYED = Resource({**RESOURCE.attributes, key.RUN_KEY: "nightly"})


class _Open:
    """A span of ours as the stamps of its children look at it: open, in the SDK."""

    def __init__(self, span: Span) -> None:
        self.attributes = span.attributes
        self.resource = span.resource
        self.kind = trace.SpanKind[span.kind]
        self._context = self._context_of(span.trace_id, span.span_id, is_remote=False)
        self.parent = None
        if span.parent_span_id is not None:
            is_remote = bool(span.parent_is_remote)
            self.parent = self._context_of(span.trace_id, span.parent_span_id, is_remote=is_remote)

    def get_span_context(self) -> trace.SpanContext:
        return self._context

    @staticmethod
    def _context_of(trace_id: str, span_id: str, *, is_remote: bool) -> trace.SpanContext:
        return trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote)


@st.composite
def one_trace(draw: st.DrawFn, number: int) -> list[Span]:
    """A trace of up to nine spans: a tree, or several; some runs, some without a row, some stamped, some missing."""
    size = draw(st.integers(1, 9))
    keyed_resource = draw(st.integers(0, 5)) == 0
    spans: list[Span] = []
    for index in range(size):
        attributes: dict[str, Any] = dict(draw(_FACTS))
        mark = draw(st.sampled_from([None, None, None, "run", "llm", "step"]))
        if mark is not None:
            attributes[key.KIND] = mark
        if draw(st.integers(0, 9)) == 0:
            attributes[key.RUN_KEY] = "nightly"
        is_root = index == 0 or draw(st.integers(0, 7)) == 0
        is_keyed = any(key.RUN_KEY in each.attributes for each in spans if each.parent_span_id is None)
        if is_root and is_keyed and not keyed_resource:
            attributes.pop(key.RUN_KEY, None)  # of several roots with keys it is chance below which one the others are
        parent = None if is_root else draw(st.integers(0, index - 1))
        is_remote = draw(st.sampled_from([None, False, True]))
        if parent is not None and not is_remote and key.RUN_KEY not in attributes and draw(st.booleans()):
            attributes |= stamps_below(_Open(spans[parent]))  # type: ignore[arg-type]  # all of a span that it asks
        spans.append(
            span(
                index,
                parent,
                trace=number,
                name=draw(st.sampled_from(["load", "clean", "train"])),
                kind=draw(_KINDS),
                status=draw(_STATUSES),
                attributes=attributes,
                start=draw(st.integers(0, 9)),
                end=draw(st.integers(10, 19)),
                open_=draw(st.integers(0, 7)) == 0,
                resource=_KEYED if keyed_resource else draw(st.sampled_from([RESOURCE, RESOURCE, OTHER_RESOURCE])),
                parent_is_remote=is_remote,
            )
        )
    return draw(st.permutations(spans))[: draw(st.integers(1, size))] if draw(st.booleans()) else spans


@st.composite
def started_too(draw: st.DrawFn, spans: list[Span]) -> list[Span]:
    """The spans, and of some of them what was told when they started: without an end, and with fewer attributes."""
    started = []
    for each in spans:
        if each.end_ns is not None and draw(st.integers(0, 3)) == 0:
            early = {name: value for name, value in each.attributes.items() if not name.startswith("otel_runs.rows")}
            started.append(each._replace(end_ns=None, status="UNSET", attributes=early))
    return [each for one in spans + started for each in draw(beating(one))]


@st.composite
def beating(draw: st.DrawFn, one: Span) -> list[Span]:
    """An open span as it is told while it lives: of a run, once or more often with a heartbeat."""
    if one.end_ns is not None or not is_run(one) or draw(st.booleans()):
        return [one]
    beats = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    processes = st.sampled_from(["boot:1:7:99", "boot:1:8:100"])
    return [
        one._replace(
            heartbeat_ns=START + (10 + beat) * SECOND, attributes={**one.attributes, key.PROCESS: draw(processes)}
        )
        for beat in beats
    ]


def is_run(one: Span) -> bool:
    """Whether a span is a run, or a part of one with a key."""
    return facts_from_span(one).run is not None


@st.composite
def losses(draw: st.DrawFn, spans: list[Span]) -> list[Loss]:
    """What a reaper may say of the runs, right or wrong."""
    said = []
    for each in spans:
        run = facts_from_span(each).run
        if run is not None and run.heartbeat_at is not None and draw(st.booleans()):
            said.append(Loss(run.id, run.trace_id, START + (10 + draw(st.integers(0, 3))) * SECOND))
    return said


@st.composite
def traces(draw: st.DrawFn) -> list[Span]:
    """One to three traces."""
    count = draw(st.integers(1, 3))
    first = draw(st.sampled_from([0, 0, -1]))
    spans = [each for number in range(count) for each in draw(one_trace(first + number))]
    return draw(started_too(spans))


@st.composite
def delivered(draw: st.DrawFn, spans: list[Span]) -> list[list[Span]]:
    """The spans in any order, some of them twice, in any batches."""
    twice = spans + [each for each in spans if draw(st.booleans())]
    rest = draw(st.permutations(twice))
    batches = []
    while rest:
        size = draw(st.integers(1, len(rest)))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches
