"""Stamps say what the chain of parents would say, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from otel_runs import current_run, current_step, run, step
from otel_runs.export.lifecycle import LifecycleProcessor
from otel_runs.export.open_spans import OpenSpans
from otel_runs.ids import row_id_from_span, run_id_from_key, run_id_from_trace


def _trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def _row_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return row_id_from_span(_trace_id(span), f"{span.context.span_id:016x}")


def _stamps(span: ReadableSpan) -> tuple[Any, Any]:
    attributes = span.attributes or {}
    return attributes.get("otel_runs.parent.run"), attributes.get("otel_runs.parent.step")


@pytest.fixture
def stamping(spans: Any) -> Any:
    """The provider with our processor in it, so that plain spans are stamped, too."""
    spans.provider._active_span_processor._span_processors = (
        LifecycleProcessor(OpenSpans()),
        *spans.provider._active_span_processor._span_processors,
    )
    return spans


def test_descendants_carry_run_and_step(spans: Any) -> None:
    with run("nightly"), step("outer"), step("inner"):
        pass
    run_id = run_id_from_trace(_trace_id(spans.one("nightly")))
    assert _stamps(spans.one("nightly")) == (None, None)
    assert _stamps(spans.one("outer")) == (run_id, None)
    assert _stamps(spans.one("inner")) == (run_id, _row_id(spans.one("outer")))


def test_nested_run_takes_over_below_it(spans: Any) -> None:
    with run("nightly"), step("windows"), run("window"), step("load"), step("inner"):
        pass
    root = run_id_from_trace(_trace_id(spans.one("nightly")))
    assert _stamps(spans.one("window")) == (root, _row_id(spans.one("windows")))
    assert _stamps(spans.one("load")) == (_row_id(spans.one("window")), None)
    assert _stamps(spans.one("inner")) == (_row_id(spans.one("window")), _row_id(spans.one("load")))


def test_handles_know_the_ids_of_their_rows(spans: Any) -> None:
    with run("nightly") as nightly, step("outer") as outer, run("window") as window:
        assert current_run() is window
        assert current_step() is None
        with step("inner"):
            assert current_run() is window
    assert nightly.id == run_id_from_trace(_trace_id(spans.one("nightly")))
    assert outer.id == _row_id(spans.one("outer"))
    assert window.id == _row_id(spans.one("window"))


def test_run_with_a_key_is_the_run_of_its_descendants(spans: Any) -> None:
    with run("nightly", key="2026-01-02") as nightly, step("load"):
        pass
    assert nightly.id == run_id_from_key("2026-01-02")
    assert spans.attributes("nightly")["otel_runs.run.key"] == "2026-01-02"
    assert _stamps(spans.one("load")) == (nightly.id, _row_id(spans.one("nightly")))


def test_run_with_a_key_inside_another_run_is_not_stamped_as_nested(spans: Any) -> None:
    with run("nightly"), run("shared", key="k"), step("load"):
        pass
    assert _stamps(spans.one("shared")) == (None, None)
    assert _stamps(spans.one("load")) == (run_id_from_key("k"), _row_id(spans.one("shared")))


def test_key_on_the_resource_counts_for_the_outermost_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"otel_runs.run.key": "k"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with run("part") as part, run("window") as window, step("load"):
        pass
    load, nested, outermost = exporter.get_finished_spans()
    assert part.id == run_id_from_key("k")
    assert _stamps(nested) == (run_id_from_key("k"), _row_id(outermost))
    assert _stamps(load) == (window.id, None)


def test_plain_spans_are_stamped_by_the_processor_and_pass_it_on(stamping: Any) -> None:
    tracer = trace.get_tracer("plain")
    with run("nightly"), tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"), step("load"):
        pass
    run_id = run_id_from_trace(_trace_id(stamping.one("nightly")))
    assert _stamps(stamping.one("outer")) == (run_id, None)
    assert _stamps(stamping.one("inner")) == (run_id, _row_id(stamping.one("outer")))
    assert _stamps(stamping.one("load")) == (run_id, _row_id(stamping.one("inner")))


def test_plain_root_span_is_a_run(stamping: Any) -> None:
    with trace.get_tracer("plain").start_as_current_span("main"), step("load"):
        pass
    assert _stamps(stamping.one("load")) == (run_id_from_trace(_trace_id(stamping.one("main"))), None)


@pytest.mark.parametrize("kind", [SpanKind.CLIENT, SpanKind.SERVER])
def test_below_a_span_that_may_have_no_row_there_is_no_stamp(stamping: Any, kind: SpanKind) -> None:
    tracer = trace.get_tracer("plain")
    with run("nightly"), step("outer"), tracer.start_as_current_span("request", kind=kind), step("load"):
        pass
    assert _stamps(stamping.one("load")) == (None, None)


def test_below_a_remote_parent_only_what_begins_here_is_known(stamping: Any) -> None:
    from opentelemetry.propagate import extract

    parent = extract({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    tracer = trace.get_tracer("plain")
    with tracer.start_as_current_span("entry", parent), step("load"), run("window"), step("inner"):
        pass
    assert _stamps(stamping.one("load")) == (None, None)
    assert _stamps(stamping.one("inner")) == (_row_id(stamping.one("window")), None)


def test_children_of_a_run_that_is_not_sampled_are_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with run("nightly") as nightly, step("load") as load:
        load.record(rows_in="many")  # type: ignore[arg-type]  # the point of it
        trace_id = trace.get_current_span().get_span_context().trace_id
    assert trace_id == nightly.span.get_span_context().trace_id
    assert exporter.get_finished_spans() == ()
