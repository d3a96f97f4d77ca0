"""A run is recorded with all its steps even where its trace is sampled out; others get only what is sampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from otel_runs.export.exporter import instrumentation_suppressed
from otel_runs.export.processor import RunsSpanProcessor
from otel_runs.export.sampling import RecordingSampler, record_unsampled
from otel_runs.store.engine import open_database
from tests.programs import Programs
from tests.servers.jaeger import Jaeger
from tests.servers.service import running
from tests.waiting import wait_until

RUNS = 100


class Seen(InMemorySpanExporter):
    """What an exporter behind our own queue was given."""

    def __init__(self, *, takes_unsampled: bool) -> None:
        super().__init__()
        self.takes_unsampled = takes_unsampled

    def names(self) -> list[str]:
        return sorted(span.name for span in self.get_finished_spans())


class Provider:
    """A provider of the user's, which sends spans to a backend through a stock processor, and to us."""

    def __init__(self, sampler: Sampler) -> None:
        self.backend, self.ours, self.others = (
            InMemorySpanExporter(),
            Seen(takes_unsampled=True),
            Seen(takes_unsampled=False),
        )
        self.sdk = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.sdk.add_span_processor(SimpleSpanProcessor(self.backend))
        self.early = self.sdk.get_tracer("early")
        self._queues = [RunsSpanProcessor(exporter) for exporter in (self.ours, self.others)]
        for queue in self._queues:
            self.sdk.add_span_processor(queue)
        record_unsampled(self.sdk)
        self.tracer = self.sdk.get_tracer("late")

    def names(self) -> tuple[list[str], list[str], list[str]]:
        """What the backend, our exporter and another exporter behind our queue have seen."""
        for queue in self._queues:
            assert queue.force_flush()
        return sorted(span.name for span in self.backend.get_finished_spans()), self.ours.names(), self.others.names()


@pytest.fixture
def provider(request: pytest.FixtureRequest) -> Iterator[Provider]:
    made = Provider(request.param)
    yield made
    made.sdk.shutdown()


def nested(tracer: trace.Tracer) -> None:
    with tracer.start_as_current_span("nightly"), tracer.start_as_current_span("load"):
        pass


@pytest.mark.parametrize(
    ("provider", "is_sampled"),
    [
        (ALWAYS_OFF, False),
        (ALWAYS_ON, True),
        (ParentBased(ALWAYS_OFF), False),
        (TraceIdRatioBased(0), False),
        (TraceIdRatioBased(1), True),
        (ParentBased(TraceIdRatioBased(0)), False),
    ],
    indirect=["provider"],
    ids=["off", "on", "parent off", "ratio 0", "ratio 1", "parent ratio 0"],
)
@pytest.mark.parametrize("which", ["early", "tracer"])
def test_our_exporter_gets_all_and_others_what_is_sampled(provider: Provider, is_sampled: bool, which: str) -> None:
    nested(getattr(provider, which))

    both = ["load", "nightly"]
    assert provider.names() == (both if is_sampled else [], both, both if is_sampled else [])


@pytest.mark.parametrize("provider", [ALWAYS_OFF], indirect=True)
def test_a_dropped_span_keeps_what_it_was_started_with_and_its_flag_is_off(provider: Provider) -> None:
    with provider.tracer.start_as_current_span("nightly", attributes={"a": 1}) as span:
        span.set_attribute("b", 2)
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)

    assert provider.names()[1] == ["nightly"]
    (found,) = provider.ours.get_finished_spans()
    assert found.attributes == {"a": 1, "b": 2}
    assert int(carrier["traceparent"][-2:], 16) & 1 == 0


@pytest.mark.parametrize("provider", [ALWAYS_OFF, ALWAYS_ON], indirect=True)
def test_where_instrumentation_is_suppressed_the_sampler_has_the_say(provider: Provider) -> None:
    is_sampled = provider.sdk.sampler.get_description() == "RecordingSampler{AlwaysOnSampler}"
    with instrumentation_suppressed():
        provider.tracer.start_span("INSERT").end()
    token = context.attach(context.set_value("suppress_instrumentation", value=True))
    provider.tracer.start_span("SELECT").end()
    context.detach(token)

    assert provider.names()[1] == (["INSERT", "SELECT"] if is_sampled else [])


class Own(Sampler):
    """A user's: drops clients, and says why."""

    def should_sample(  # noqa: PLR0917  the SDK's signature
        self,
        parent_context: context.Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        del parent_context, trace_id, name, attributes, links, trace_state
        decision = Decision.DROP if kind is SpanKind.CLIENT else Decision.RECORD_AND_SAMPLE
        return SamplingResult(decision, {"rule": decision.name}, TraceState([("own", "1")]))

    def get_description(self) -> str:
        return "Own"


@pytest.mark.parametrize("provider", [Own()], indirect=True)
def test_what_a_sampler_of_the_users_adds_is_kept(provider: Provider) -> None:
    provider.tracer.start_span("call", kind=SpanKind.CLIENT, attributes={"a": 1}).end()
    provider.tracer.start_span("load", attributes={"a": 1}).end()

    assert provider.names() == (["load"], ["call", "load"], ["load"])
    call, load = sorted(provider.ours.get_finished_spans(), key=lambda span: span.name)
    assert call.attributes == {"a": 1, "rule": "DROP"}
    assert load.attributes == {"rule": "RECORD_AND_SAMPLE"}
    assert call.context is not None
    assert call.context.trace_state == {"own": "1"}


class NotLoad(ParentBased):
    """A user's, made from the SDK's."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return (ALWAYS_OFF if "load" in args else ALWAYS_ON).should_sample(*args, **kwargs)


@pytest.mark.parametrize(
    "provider",
    [ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF), NotLoad(ALWAYS_ON)],
    indirect=True,
    ids=["parent based", "subclass"],
)
def test_a_sampler_that_drops_below_what_is_sampled_has_its_say(provider: Provider) -> None:
    nested(provider.tracer)

    assert provider.names() == (["nightly"], ["load", "nightly"], ["nightly"])


@pytest.mark.parametrize("provider", [ParentBased(Own())], indirect=True)
def test_what_is_below_a_sampled_span_has_its_trace_state_and_its_own_attributes(provider: Provider) -> None:
    with provider.tracer.start_as_current_span("nightly"):
        provider.tracer.start_span("load", attributes={"a": 1}).end()
        provider.tracer.start_span("check").end()

    assert provider.names()[0] == ["check", "load", "nightly"]
    found = {span.name: span for span in provider.backend.get_finished_spans()}
    assert [found[name].attributes for name in ("load", "check")] == [{"a": 1}, {}]
    assert all(span.context is not None and span.context.trace_state == {"own": "1"} for span in found.values())


@pytest.mark.parametrize(
    ("provider", "is_sampled"),
    [(ParentBased(ALWAYS_ON), True), (ParentBased(ALWAYS_ON, remote_parent_sampled=ALWAYS_OFF), False)],
    indirect=["provider"],
)
def test_below_a_sampled_span_of_another_process_the_sampler_is_asked(provider: Provider, is_sampled: bool) -> None:
    parent = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
    provider.tracer.start_span("load", context).end()

    assert provider.names() == (["load"] if is_sampled else [], ["load"], ["load"] if is_sampled else [])


def test_a_provider_is_wrapped_once_and_one_that_is_not_the_sdks_not_at_all() -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    record_unsampled(provider)
    sampler = provider.sampler
    record_unsampled(provider)
    record_unsampled(trace.NoOpTracerProvider())

    assert isinstance(sampler, RecordingSampler)
    assert provider.sampler is sampler


PIPELINE = """
import os, subprocess, sys
import otel_runs
from opentelemetry import trace
from otel_runs import child_environment, run, step
otel_runs.configure("runs.db")
tracer = trace.get_tracer("t")
"""


def test_the_variables_of_opentelemetry_choose_the_sampler(programs: Programs) -> None:
    done = programs.python(
        PIPELINE + "with run('nightly'), step('load'): pass",
        environ={"OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_EXPORTER": "otel_runs,console"},
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "the console gets what is sampled"
    assert programs.rows("SELECT r.name, m.name FROM runs r JOIN model_runs m ON m.run_id = r.id") == [
        ("nightly", "load")
    ]


def test_a_run_that_is_sampled_out_is_seen_while_it_runs(programs: Programs) -> None:
    done = programs.python(
        PIPELINE
        + """
import sqlite3
with run("nightly"):
    assert otel_runs.configure().flush()
    print(sqlite3.connect("runs.db").execute("SELECT name, status FROM runs").fetchall())
""",
        environ={"OTEL_TRACES_SAMPLER": "always_off"},
    )

    assert (done.stdout, done.stderr) == ("[('nightly', 'running')]\n", "")


def test_a_child_process_records_its_steps_into_the_run_that_is_sampled_out(programs: Programs) -> None:
    programs.write(PIPELINE + "with step('in child'): print(os.environ['TRACEPARENT'][-2:])", "child.py")

    done = programs.python(
        PIPELINE
        + """
with run("nightly"), step("load"):
    subprocess.run([sys.executable, "child.py"], env=child_environment(), check=True)
""",
        environ={"OTEL_TRACES_SAMPLER": "parentbased_always_off"},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout, 16) & 1 == 0
    assert programs.rows("SELECT name FROM runs") == [("nightly",)]
    assert programs.rows("SELECT name FROM model_runs ORDER BY started_at") == [("load",), ("in child",)]


def test_our_own_work_on_the_database_is_not_recorded(programs: Programs) -> None:
    """It would be stored, and storing it recorded, for ever."""
    done = programs.python(
        """
import otel_runs
from opentelemetry import trace
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
SQLite3Instrumentor().instrument()
setup = otel_runs.configure("runs.db")
for _ in range(3):
    with trace.get_tracer("t").start_as_current_span("nightly"): pass
    setup.flush()
print(otel_runs.stats().spans_received)
""",
        environ={"OTEL_TRACES_SAMPLER": "always_off"},
    )

    assert (done.stdout, done.stderr) == ("3\n", "")


@pytest.fixture(scope="module")
def jaeger() -> Iterator[Jaeger]:
    with running(Jaeger) as server:
        yield server


@pytest.mark.parametrize(
    ("ratio", "sampled"), [("0", []), ("0.01", [0]), ("1", list(range(RUNS)))], ids=["none", "one in 100", "all"]
)
def test_all_runs_are_in_the_tables_and_those_sampled_in_jaeger(
    jaeger: Jaeger, programs: Programs, database_url_for_test: str, ratio: str, sampled: list[int]
) -> None:
    """Ids at equal distances, so that the ratio takes exactly so many."""
    done = programs.python(
        f"""
import otel_runs, random
from otel_runs import run, step
from otel_runs.export.id_generator import TimeOrderedIdGenerator
ids = [random.getrandbits(63) << 64 | (2 * number + 1 << 63) // {RUNS} for number in range({RUNS})]
rest = iter(ids)
TimeOrderedIdGenerator.generate_trace_id = lambda self: next(rest)
otel_runs.configure({database_url_for_test!r}, otlp_endpoint="http://{jaeger.grpc}")
for number in ids:
    with run("nightly"):
        with step("load"): pass
        with step("check"): pass
    print(format(number, "032x"))
""",
        environ={
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": ratio,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        },
    )

    assert (done.returncode, done.stderr) == (0, "")
    traces = done.stdout.split()
    with open_database(database_url_for_test) as database, database.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT count(*) FROM v_runs WHERE status = 'completed' AND steps = 2 AND completeness = 'complete'"
        )
        assert rows.scalar_one() == len(traces) == RUNS
    expected = {traces[number] for number in sampled}
    wait_until(lambda: all(len(jaeger.spans_of(trace_id)) == 3 for trace_id in expected), what="Jaeger has the sampled")
    assert [trace_id for trace_id in traces if trace_id not in expected and jaeger.spans_of(trace_id)] == []
