"""A run knows how many steps its process saw end, so it can tell how many of them are missing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from otel_runs.export.lifecycle import LifecycleProcessor
from otel_runs.export.open_spans import OpenSpans
from otel_runs.ingest import Ingest
from otel_runs.spans.from_sdk import SdkSpans
from otel_runs.store.engine import Database, open_database
from tests.programs import Programs
from tests.unseeded_ids import UnseededIds

EXPECTED = "otel_runs.steps_expected"
RUN = {"otel_runs.kind": "run"}
CLIENT = SpanKind.CLIENT


class Pipeline:
    """A provider as ``configure()`` sets it up, whose ended spans are kept."""

    def __init__(self, **resource: str) -> None:
        provider = TracerProvider(resource=Resource(resource), id_generator=UnseededIds(), shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        for processor in (LifecycleProcessor(OpenSpans()), SimpleSpanProcessor(self._exporter)):
            provider.add_span_processor(processor)
        self.tracer = provider.get_tracer("t")
        self.span = self.tracer.start_as_current_span

    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def expected(self) -> dict[str, Any]:
        """How many steps each span says that it saw end."""
        said = {span.name: (span.attributes or {}).get(EXPECTED) for span in self.spans()}
        return {name: steps for name, steps in said.items() if steps is not None}


def test_plain_spans_of_all_threads_are_counted() -> None:
    pipeline = Pipeline()

    def work(run: trace.Span) -> None:
        for _ in range(50):
            pipeline.tracer.start_span("load", trace.set_span_in_context(run)).end()

    with pipeline.span("nightly") as run:
        threads = [threading.Thread(target=work, args=(run,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert pipeline.expected() == {"nightly": 200}


def test_only_what_has_a_row_is_counted_and_what_is_below_it_all_the_same() -> None:
    pipeline = Pipeline()
    with pipeline.span("nightly"), pipeline.span("GET", kind=CLIENT):
        with pipeline.span("below"):
            pass
        with pipeline.span("chat", kind=CLIENT, attributes={"gen_ai.operation.name": "chat"}):
            pass
        with pipeline.span("late", kind=CLIENT) as late:
            late.set_attribute("otel_runs.kind", "query")
    with pipeline.span("weekly"):
        with pipeline.span("window") as window:
            window.set_attributes(RUN)
        with pipeline.span("step", attributes={"otel_runs.kind": "step"}, kind=CLIENT):
            pass

    assert pipeline.expected() == {"nightly": 3, "weekly": 1}


def test_a_nested_run_counts_for_itself() -> None:
    pipeline = Pipeline()
    with pipeline.span("nightly"):
        with pipeline.span("load"):
            pass
        with pipeline.span("window", attributes=RUN), pipeline.span("a"), pipeline.span("b"):
            pass

    assert pipeline.expected() == {"nightly": 1, "window": 2}


@pytest.mark.parametrize("where", ["span", "resource"])
def test_a_run_with_a_key_is_not_counted_but_one_nested_in_it_is(where: str) -> None:
    pipeline = Pipeline(**{"otel_runs.run.key": "k"} if where == "resource" else {})
    key = {"otel_runs.run.key": "k"} if where == "span" else {}
    with pipeline.span("nightly", attributes=key), pipeline.span("window", attributes=RUN), pipeline.span("a"):
        pass

    assert pipeline.expected() == {"window": 1}


def test_a_step_that_ends_after_its_run_is_not_expected() -> None:
    pipeline = Pipeline()
    with pipeline.span("nightly"):
        with pipeline.span("load"):
            pass
        late = pipeline.tracer.start_span("late")
    late.end()

    assert pipeline.expected() == {"nightly": 1}


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "runs.db") as opened:
        yield opened


class Made(NamedTuple):
    """A span to be made, and the spans below it."""

    kind: str
    below: list[Made]


def trees(kinds: list[str], depth: int) -> st.SearchStrategy[list[Made]]:
    """What a run may hold. Below a client in a nested run nothing: without a stamp, a gap loses the run."""
    if depth == 0:
        return st.just([])
    return st.lists(
        st.one_of(
            st.builds(Made, st.just("step"), trees(kinds, depth - 1)),
            *([st.builds(Made, st.just("run"), trees(["step"], depth - 1))] if "run" in kinds else []),
            *(
                [st.builds(Made, st.just("client"), trees([kind for kind in kinds if kind != "run"], depth - 1))]
                if "client" in kinds
                else []
            ),
        ),
        max_size=4,
    )


def make(pipeline: Pipeline, made: Made, run: str, runs: dict[str, list[int]]) -> None:
    """Make a span and what is below it; note the steps of each run by their span ids."""
    kind = CLIENT if made.kind == "client" else SpanKind.INTERNAL
    with pipeline.span(made.kind, kind=kind, attributes=RUN if made.kind == "run" else None) as span:
        context = span.get_span_context()
        if made.kind == "step":
            runs[run].append(context.span_id)
        if made.kind == "run":
            run = f"{context.span_id:016x}"
            runs[run] = []
        for each in made.below:
            make(pipeline, each, run, runs)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(below=trees(["step", "run", "client"], 3), data=st.data())
# On SQLite alone: what is shown is that two numbers agree; how they are stored, tests/ingest shows on every database.
def test_whatever_steps_are_lost_on_the_way_each_run_tells_how_many(
    sqlite_database: Database, below: list[Made], data: st.DataObject
) -> None:
    pipeline = Pipeline()
    runs: dict[str, list[int]] = {"": []}
    with pipeline.span("nightly") as root:
        for made in below:
            make(pipeline, made, "", runs)
        runs[f"{root.get_span_context().span_id:016x}"] = runs.pop("")
    steps = [span_id for ids in runs.values() for span_id in ids]
    lost = data.draw(st.sets(st.sampled_from(steps))) if steps else set()

    sdk_spans = SdkSpans()
    kept = [span for span in pipeline.spans() if span.context is not None and span.context.span_id not in lost]
    Ingest(sqlite_database).save([sdk_spans.span_from_sdk(span) for span in kept])

    with sqlite_database.engine.connect() as connection:
        trace_id = f"{root.get_span_context().trace_id:032x}"
        told = connection.exec_driver_sql(
            "SELECT root_span_id, completeness, steps_missing FROM v_runs WHERE trace_id = ?", (trace_id,)
        )
        rows = {row[0]: (row[1], row[2]) for row in told}
    assert rows == {
        run: ("unknown", None) if not ids else ("partial" if lost & set(ids) else "complete", len(lost & set(ids)))
        for run, ids in runs.items()
    }


def test_the_count_reaches_the_tables_from_plain_and_declared_steps_each_once(
    programs: Programs, database_url_for_test: str
) -> None:
    done = programs.python(
        f"""
import otel_runs
from opentelemetry import trace
from otel_runs import run, step
otel_runs.configure({database_url_for_test!r})
tracer = trace.get_tracer("t")
with tracer.start_as_current_span("plain"):
    with step("a"), tracer.start_as_current_span("b"): pass
with run("declared"):
    with step("a"), tracer.start_as_current_span("b"), step("c"): pass
"""
    )

    assert (done.returncode, done.stderr) == (0, "")
    with open_database(database_url_for_test) as database, database.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, steps, steps_expected, completeness, steps_missing FROM v_runs ORDER BY started_at"
        ).fetchall()
    assert [tuple(row) for row in rows] == [("plain", 2, 2, "complete", 0), ("declared", 3, 3, "complete", 0)]


def test_a_forked_child_does_not_count_for_its_parent(programs: Programs) -> None:
    done = programs.python(
        """
import os, otel_runs
from opentelemetry import trace
otel_runs.configure("runs.db")
tracer = trace.get_tracer("t")
with tracer.start_as_current_span("nightly"):
    with tracer.start_as_current_span("a"): pass
    child = os.fork()
    if child == 0:
        with tracer.start_as_current_span("in child"): pass
        os._exit(0)
    os.waitpid(child, 0)
"""
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT steps, steps_expected FROM runs") == [(2, 1)]


def test_a_run_that_is_lost_does_not_tell_how_many_steps_it_had(programs: Programs) -> None:
    """What it said while it was open was true then."""
    done = programs.python(
        """
import os, otel_runs
from opentelemetry import trace
setup = otel_runs.configure("runs.db")
tracer = trace.get_tracer("t")
with tracer.start_as_current_span("nightly"):
    with tracer.start_as_current_span("a"): pass
    assert setup.flush()
    os._exit(0)
"""
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT status, steps_expected, completeness FROM v_runs") == [("running", None, "unknown")]
