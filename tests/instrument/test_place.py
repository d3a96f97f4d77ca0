"""Stamps say what the chain of parents would say, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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
from otel_runs.ingest import Ingest
from otel_runs.mapping.facts import facts_from_span
from otel_runs.spans.from_sdk import SdkSpans
from otel_runs.store.engine import Database, open_database
from tests.programs import Programs
from tests.unseeded_ids import UnseededIds


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


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "runs.db") as opened:
        yield opened


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


ODD_KEYS = ["nightly\n", " nightly", "n/a", "", " ", "x" * 600, " " * 600 + "x", "a\0b", "a\udce9", "\ud83d\ude00"]
any_key = st.sampled_from(ODD_KEYS) | st.text() | st.text(st.characters(categories=["Cs", "Cc", "Zs"]))
"""Half surrogate pairs, too: a byte that is not UTF-8 becomes one in a variable of the environment."""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=any_key, is_on_resource=st.booleans(), is_plain=st.booleans())
# On SQLite alone: what is shown is that two computations agree.
def test_whatever_the_key_the_steps_of_a_run_are_in_that_run(
    sqlite_database: Database, key: str, is_on_resource: bool, is_plain: bool
) -> None:
    said = {"otel_runs.run.key": key}
    resource = Resource(said if is_on_resource else {})
    provider = TracerProvider(resource=resource, id_generator=UnseededIds(), shutdown_on_exit=False)
    memory = InMemorySpanExporter()
    for processor in (LifecycleProcessor(OpenSpans()), SimpleSpanProcessor(memory)):
        provider.add_span_processor(processor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "_TRACER_PROVIDER", provider)
        tracer = trace.get_tracer("plain")
        opened: Any = run("run") if is_on_resource else run("run", key=key)
        if is_plain:
            opened = tracer.start_as_current_span("run", attributes=None if is_on_resource else said)
        with opened, tracer.start_as_current_span("step") if is_plain else step("step"):
            pass
    *_, step_span, run_span = memory.get_finished_spans()

    sdk_spans = SdkSpans()
    told = facts_from_span(sdk_spans.span_from_sdk(run_span)).run
    assert told is not None
    assert _stamps(step_span)[0] == told.id
    Ingest(sqlite_database).save([sdk_spans.span_from_sdk(span) for span in (step_span, run_span)])
    with sqlite_database.engine.connect() as connection:
        sql = "SELECT r.id, r.status FROM model_runs m JOIN runs r ON r.id = m.run_id WHERE m.id = ?"
        assert connection.exec_driver_sql(sql, (_row_id(step_span),)).all() == [(told.id, "completed")]
        assert connection.exec_driver_sql("SELECT count(*) FROM runs WHERE completed_at IS NULL").scalar() == 0


def test_a_declared_key_is_said_as_the_rows_have_it_and_an_empty_one_is_not_said(spans: Any) -> None:
    with run("padded", key=" 2026-01-02\n") as padded, run("empty", key="") as empty, step("load"):
        pass
    assert padded.id == run_id_from_key("2026-01-02")
    assert spans.attributes("padded")["otel_runs.run.key"] == "2026-01-02"
    assert "otel_runs.run.key" not in spans.attributes("empty")
    assert _stamps(spans.one("empty")) == (padded.id, _row_id(spans.one("padded")))
    assert _stamps(spans.one("load")) == (empty.id, None)


@pytest.mark.parametrize(("value", "key"), [("", None), ("nightly%20", "nightly"), ("n\udce9", "n?")])
def test_a_key_from_the_environment_that_is_not_clean_makes_one_run(
    programs: Programs, value: str, key: str | None
) -> None:
    """A shell variable that is not set leaves an empty key."""
    done = programs.python(
        """
        import otel_runs
        otel_runs.configure("runs.db")
        with otel_runs.run("nightly") as r, otel_runs.step("load"):
            print(r.id)
        """,
        environ={"OTEL_RESOURCE_ATTRIBUTES": f"otel_runs.run.key={value}"},
    )

    assert (done.returncode, done.stderr) == (0, "")
    run_id = done.stdout.strip()
    expected = 1 if key is None else 2
    assert programs.rows("SELECT id, status, run_key, steps_expected FROM runs") == [
        (run_id, "completed", key, 1 if key is None else None)
    ]
    assert programs.rows("SELECT run_id FROM model_runs") == [(run_id,)] * expected


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
