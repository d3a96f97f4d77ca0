"""The SDK's spans become neutral ones, whole."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from otel_runs.spans.from_sdk import SdkSpans, UnreadableSpanError
from otel_runs.spans.span import Span

START = 1_760_000_000_123_456_789


class Tracing:
    """A provider of its own, and what its spans become."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(resource=Resource({"service.name": "shop", "hosts": ["a", "b"]}))
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._spans = SdkSpans()

    def tracer(self, name: str = "tests") -> Tracer:
        return self._provider.get_tracer(name)

    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def spans(self) -> list[Span]:
        return [self._spans.span_from_sdk(each) for each in self.ended()]

    def only(self) -> Span:
        (found,) = self.spans()
        return found


@pytest.fixture
def tracing() -> Tracing:
    return Tracing()


def remote() -> SpanContext:
    return SpanContext(0xAB, 0xCD, is_remote=True, trace_flags=TraceFlags(1))


def test_ids_are_lower_case_hexadecimal_of_full_length(tracing: Tracing) -> None:
    parent = set_span_in_context(NonRecordingSpan(remote()))
    tracing.tracer().start_span("load", context=parent).end()
    found = tracing.only()
    assert found.trace_id == "000000000000000000000000000000ab"
    assert found.parent_span_id == "00000000000000cd"
    assert len(found.span_id) == 16
    assert found.span_id == found.span_id.lower()


def test_root_span_has_no_parent(tracing: Tracing) -> None:
    tracing.tracer().start_span("load").end()
    assert (tracing.only().parent_span_id, tracing.only().parent_is_remote) == (None, None)


def test_parent_is_remote_only_where_it_came_from_another_process(tracing: Tracing) -> None:
    tracer = tracing.tracer()
    parent = set_span_in_context(NonRecordingSpan(remote()))
    with tracer.start_as_current_span("outer", context=parent):
        tracer.start_span("inner").end()
    inner, outer = tracing.spans()
    assert (outer.parent_is_remote, inner.parent_is_remote) == (True, False)
    assert inner.parent_span_id == outer.span_id


@pytest.mark.parametrize("kind", list(SpanKind))
def test_every_kind_keeps_its_name(tracing: Tracing, kind: SpanKind) -> None:
    tracing.tracer().start_span("load", kind=kind).end()
    assert tracing.only().kind == kind.name


@pytest.mark.parametrize("code", list(StatusCode))
def test_every_status_keeps_its_name(tracing: Tracing, code: StatusCode) -> None:
    span = tracing.tracer().start_span("load")
    span.set_status(Status(code, "no rows" if code is StatusCode.ERROR else None))
    span.end()
    found = tracing.only()
    assert (found.status, found.status_message) == (code.name, "no rows" if code is StatusCode.ERROR else None)


def test_times_are_exact_nanoseconds(tracing: Tracing) -> None:
    tracing.tracer().start_span("load", start_time=START).end(end_time=START + 1)
    assert (tracing.only().start_ns, tracing.only().end_ns) == (START, START + 1)


class Layer(StrEnum):
    RAW = "raw"


@pytest.mark.parametrize(
    ("given", "name"), [(b"key\xff", "key\ufffd"), (5, "5"), (None, ""), (Layer.RAW, "raw")], ids=repr
)
def test_names_that_are_no_texts_become_texts(tracing: Tracing, given: Any, name: str) -> None:
    span = tracing.tracer().start_span(given)
    span.add_event(given)
    span.end()
    found = tracing.only()
    assert (found.name, found.events[0].name) == (name, name)
    assert type(found.name) is type(found.events[0].name) is str


def test_times_that_are_floats_become_whole_nanoseconds(tracing: Tracing) -> None:
    given: Any = float(START)
    span = tracing.tracer().start_span("load", start_time=given)
    span.add_event("chunk", timestamp=given)
    span.end(end_time=given)
    found = tracing.only()
    assert (found.start_ns, found.end_ns, found.events[0].time_ns) == (int(given), int(given), int(given))
    assert {type(found.start_ns), type(found.end_ns), type(found.events[0].time_ns)} == {int}


def test_spans_that_cannot_be_read_cost_no_other(tracing: Tracing) -> None:
    kind: Any = "SERVER"
    for name, start in (("a", START), ("b", math.nan), ("c", START)):
        tracing.tracer().start_span(name, start_time=start).end()  # type: ignore[arg-type]  # what the SDK takes
    tracing.tracer().start_span("d", kind=kind).end()
    why: list[UnreadableSpanError] = []

    found = [span.name for span in SdkSpans().spans_from_sdk(tracing.ended(), why.append)]

    assert found == ["a", "c"]
    assert [str(each)[:26] for each in why] == ["span 'b' cannot be read: V", "span 'd' cannot be read: K"]


def test_attributes_of_all_types_are_kept_as_they_are(tracing: Tracing) -> None:
    attributes: dict[str, AttributeValue] = {
        "text": "a",
        "truth": True,
        "number": 7,
        "amount": 0.5,
        "texts": ("a", "b"),
        "numbers": (1, 2),
    }
    tracing.tracer().start_span("load", attributes=attributes).end()
    found = tracing.only().attributes
    assert dict(found) == attributes
    assert [type(value) for value in found.values()] == [str, bool, int, float, tuple, tuple]


def test_span_without_attributes_has_none(tracing: Tracing) -> None:
    tracing.tracer().start_span("load").end()
    assert dict(tracing.only().attributes) == {}


def test_attributes_set_later_do_not_change_a_span_that_was_read(tracing: Tracing) -> None:
    span = tracing.tracer().start_span("load", attributes={"rows": 1})
    assert isinstance(span, ReadableSpan)
    before = SdkSpans().span_from_sdk(span)
    span.set_attribute("rows", 2)
    assert before.attributes["rows"] == 1


def test_events_are_kept_in_order(tracing: Tracing) -> None:
    span = tracing.tracer().start_span("load")
    span.add_event("chunk", {"number": 1}, timestamp=START)
    span.record_exception(ValueError("no rows"))
    span.end()
    chunk, raised = tracing.only().events
    assert (chunk.name, chunk.time_ns, dict(chunk.attributes)) == ("chunk", START, {"number": 1})
    assert raised.name == "exception"
    assert raised.attributes["exception.message"] == "no rows"


def test_links_are_kept(tracing: Tracing) -> None:
    tracing.tracer().start_span("load", links=[Link(remote(), {"why": "retry"})]).end()
    (link,) = tracing.only().links
    assert (link.trace_id[-2:], link.span_id, dict(link.attributes)) == ("ab", "00000000000000cd", {"why": "retry"})


def test_name_of_the_scope_is_kept(tracing: Tracing) -> None:
    tracing.tracer("shop.etl").start_span("load").end()
    assert tracing.only().scope_name == "shop.etl"


def test_all_spans_of_a_provider_share_one_resource(tracing: Tracing) -> None:
    for _ in range(2):
        tracing.tracer().start_span("load").end()
    one, other = tracing.spans()
    assert one.resource is other.resource
    assert dict(one.resource.attributes) == {"service.name": "shop", "hosts": ("a", "b")}


def test_spans_of_two_providers_keep_their_own_resources() -> None:
    adapter = SdkSpans()
    services = ["shop", "billing", "shop"]
    providers = [TracerProvider(resource=Resource({"service.name": name})) for name in services]
    spans = [provider.get_tracer("tests").start_span("load") for provider in providers]
    found = [adapter.span_from_sdk(each) for each in spans if isinstance(each, ReadableSpan)]
    assert [each.resource.attributes["service.name"] for each in found] == services


def test_span_that_only_started_has_no_end(tracing: Tracing) -> None:
    span = tracing.tracer().start_span("load")
    assert isinstance(span, ReadableSpan)
    assert SdkSpans().span_from_sdk(span).end_ns is None


def test_span_that_no_provider_started_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'load' has no context or no start time"):
        SdkSpans().span_from_sdk(ReadableSpan("load", context=None))
    with pytest.raises(ValueError, match="'load' has no context or no start time"):
        SdkSpans().span_from_sdk(ReadableSpan("load", context=remote()))
