"""Runs and steps are rows while they are open, and their runs' heartbeats go on as long as the process lives."""

from __future__ import annotations

import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, Tracer

from otel_runs.counters import stats
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.processor import RunsSpanProcessor
from otel_runs.process import process_identity
from otel_runs.spans.span import Span
from otel_runs.store.engine import Database
from tests.programs import Programs
from tests.systems import needs_fork
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


HEAD = """
import os, sys, time
import otel_runs
from opentelemetry import trace
otel_runs.configure("runs.db")
tracer = trace.get_tracer("t")
"""


class Listener(SpanExporter):
    """An exporter that keeps what it hears."""

    def __init__(self) -> None:
        self.started: list[Span] = []
        self.heartbeats: list[Span] = []
        self.ended: list[str] = []
        self.calls = 0
        self.is_away = False
        self.seconds_a_batch = 0.0
        self.most_heartbeats_at_once = 0

    def prepare(self) -> None:
        pass

    def export_started(self, spans: Sequence[Span]) -> bool:
        self.calls += 1
        if not self.is_away:
            self.started += spans
        return not self.is_away

    def export_heartbeats(self, spans: Sequence[Span]) -> bool:
        self.calls += 1
        self.heartbeats += spans
        self.most_heartbeats_at_once = max(self.most_heartbeats_at_once, len(spans))
        return not self.is_away

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls += 1
        time.sleep(self.seconds_a_batch)
        self.ended += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def names(self) -> list[str]:
        return sorted(span.name for span in self.started)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def queue_to() -> Iterator[Callable[..., RunsSpanProcessor]]:
    made: list[RunsSpanProcessor] = []

    def new(exporter: SpanExporter, **options: float) -> RunsSpanProcessor:
        made.append(RunsSpanProcessor(exporter, **options))  # type: ignore[arg-type]  # options of int and of float
        return made[-1]

    yield new
    for processor in made:
        processor.shutdown()


@pytest.fixture
def queue(listener: Listener, queue_to: Callable[..., RunsSpanProcessor]) -> RunsSpanProcessor:
    return queue_to(listener)


def tracer_of(processor: RunsSpanProcessor) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("tests")


def rows(database: Database) -> list[tuple[object, ...]]:
    sql = (
        "SELECT name, status, heartbeat_at IS NOT NULL, completed_at IS NULL FROM runs UNION ALL "
        "SELECT name, status, NULL, completed_at IS NULL FROM model_runs ORDER BY 1"
    )
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def test_an_open_span_that_cannot_be_read_keeps_no_other_from_being_told(
    listener: Listener, queue: RunsSpanProcessor
) -> None:
    tracer = tracer_of(queue)
    bad: Any = "SERVER"  # no SpanKind
    spans = [tracer.start_span("before"), tracer.start_span("bad", kind=bad), tracer.start_span("after")]

    assert queue.force_flush()
    assert listener.names() == ["after", "before"]
    for span in spans:
        span.end()


def test_open_run_and_step_are_running_rows_that_end_as_their_spans_do(
    database: Database, queue_to: Callable[..., RunsSpanProcessor]
) -> None:
    processor = queue_to(RunsSpanExporter(database.engine.url.render_as_string(hide_password=False)))
    tracer = tracer_of(processor)
    with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("nightly"):
        with tracer.start_as_current_span("extract"):
            pass
        with tracer.start_as_current_span("load"):
            running = [
                ("extract", "success", None, False),
                ("load", "running", None, True),
                ("nightly", "running", True, True),
            ]
            wait_until(lambda: rows(database) == running, what="rows of what is open")
            raise ZeroDivisionError
    assert processor.force_flush()

    assert rows(database) == [
        ("extract", "success", None, False),
        ("load", "failed", None, False),
        ("nightly", "failed", True, False),
    ]
    assert (stats().spans_received, stats().spans_stored) == (3, 3)


def test_span_that_ends_before_the_queue_looks_is_not_told_as_started(
    listener: Listener, queue_to: Callable[..., RunsSpanProcessor]
) -> None:
    queue = queue_to(listener, schedule_delay=60)
    with tracer_of(queue).start_as_current_span("nightly"):
        for _ in range(100):
            tracer_of(queue).start_span("short").end()
        queue.force_flush()

    assert listener.names() == ["nightly"]


def test_started_span_says_what_is_known_so_far_and_nothing_of_its_end(
    listener: Listener, queue: RunsSpanProcessor
) -> None:
    before = time.time_ns()
    with tracer_of(queue).start_as_current_span("nightly", attributes={"a": 1}) as span:
        span.add_event("happened")
        queue.force_flush()

    [told] = listener.started
    assert (told.name, told.end_ns, told.status, told.events) == ("nightly", None, "UNSET", ())
    assert told.attributes == {"a": 1, "otel_runs.process": process_identity()}
    assert before <= told.start_ns <= (told.heartbeat_ns or 0) <= time.time_ns()


@pytest.mark.parametrize(
    ("kind", "attributes", "told"),
    [
        (SpanKind.CLIENT, {}, False),
        (SpanKind.SERVER, {}, False),
        (SpanKind.INTERNAL, {}, True),
        (SpanKind.CLIENT, {"otel_runs.kind": "query"}, True),
        (SpanKind.CLIENT, {"gen_ai.operation.name": "chat"}, True),
    ],
)
def test_only_spans_that_become_rows_are_told(
    kind: SpanKind, attributes: dict[str, str], told: bool, listener: Listener, queue: RunsSpanProcessor
) -> None:
    tracer = tracer_of(queue)
    with tracer.start_as_current_span("nightly"), tracer.start_as_current_span("x", kind=kind, attributes=attributes):
        queue.force_flush()

    assert listener.names() == (["nightly", "x"] if told else ["nightly"])


def test_span_that_is_sampled_out_is_not_told(listener: Listener, queue: RunsSpanProcessor) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(queue)
    with provider.get_tracer("tests").start_as_current_span("nightly"):
        queue.force_flush()

    assert listener.calls == 0


def test_exporter_that_knows_nothing_of_open_spans_gets_ended_ones_only(
    queue_to: Callable[..., RunsSpanProcessor],
) -> None:
    memory = InMemorySpanExporter()
    processor = queue_to(memory)
    with tracer_of(processor).start_as_current_span("nightly"):
        processor.force_flush()
        assert memory.get_finished_spans() == ()
    processor.force_flush()

    assert [span.name for span in memory.get_finished_spans()] == ["nightly"]


def test_queue_sleeps_while_nothing_starts_or_ends(
    listener: Listener, queue: RunsSpanProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer_of(queue).start_span("done").end()
    queue.force_flush()
    looks: list[int] = []
    drain = queue._drain

    def counted() -> None:
        looks.append(1)
        drain()

    def is_asleep() -> bool:
        looks.clear()
        time.sleep(1)
        return looks == []

    monkeypatch.setattr(queue, "_drain", counted)
    # The first look is the rest of the waiting that the flush cut short.
    wait_until(is_asleep, seconds=10, what="a second without a look")

    tracer_of(queue).start_span("another").end()
    wait_until(lambda: "another" in listener.ended, what="the next span")


def test_heartbeats_are_those_of_open_runs_and_stop_with_them(
    listener: Listener, queue_to: Callable[..., RunsSpanProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_HEARTBEAT", "0.05")
    processor = queue_to(listener, schedule_delay=0.01)
    tracer = tracer_of(processor)
    nested = {"otel_runs.kind": "run"}
    with tracer.start_as_current_span("nightly"):
        with (
            tracer.start_as_current_span("window", attributes=nested),
            tracer.start_as_current_span("step") as step,
        ):
            wait_until(lambda: len(listener.heartbeats) >= 6, what="heartbeats")
            step.set_attribute("otel_runs.rows_out", 7)
        processor.force_flush()
        of_both = list(listener.heartbeats)
        wait_until(lambda: len(listener.heartbeats) >= len(of_both) + 4, what="heartbeats")
    processor.force_flush()
    told = list(listener.heartbeats)
    time.sleep(0.3)

    assert {span.name for span in of_both} == {"nightly", "window"}
    assert {span.name for span in told[len(of_both) :]} <= {"nightly", "window"}
    assert {span.name for span in told[-3:]} == {"nightly"}
    times = [span.heartbeat_ns or 0 for span in told if span.name == "nightly"]
    assert times == sorted(set(times))
    assert listener.heartbeats == told


def test_without_heartbeats_started_runs_carry_none(
    listener: Listener, queue_to: Callable[..., RunsSpanProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_HEARTBEAT", "0")
    processor = queue_to(listener)
    with tracer_of(processor).start_as_current_span("nightly"):
        processor.force_flush()
        time.sleep(0.3)

    assert [span.heartbeat_ns for span in listener.started] == [None]
    assert listener.heartbeats == []


def test_what_could_not_be_told_is_told_later_if_it_is_still_open(listener: Listener, queue: RunsSpanProcessor) -> None:
    tracer = tracer_of(queue)
    listener.is_away = True
    with tracer.start_as_current_span("nightly"), tracer.start_as_current_span("long"):
        with tracer.start_as_current_span("short"):
            queue.force_flush()
        listener.is_away = False
        wait_until(lambda: bool(listener.started), what="another attempt")

        assert listener.names() == ["long", "nightly"]


def test_heartbeats_that_could_not_be_told_do_not_pile_up(
    listener: Listener, queue_to: Callable[..., RunsSpanProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_HEARTBEAT", "0.05")
    processor = queue_to(listener, schedule_delay=0.01)
    with tracer_of(processor).start_as_current_span("nightly"):
        processor.force_flush()
        listener.is_away = True
        wait_until(lambda: len(listener.heartbeats) >= 3, what="failing heartbeats")
        listener.is_away = False
        failed = len(listener.heartbeats)
        wait_until(lambda: len(listener.heartbeats) > failed + 1, what="heartbeats")
    processor.force_flush()

    times = [span.heartbeat_ns or 0 for span in listener.heartbeats]
    assert times == sorted(set(times)), "each is told once, and no earlier one after it"
    assert listener.most_heartbeats_at_once == 1


@pytest.mark.parametrize("is_away", [False, True])
def test_a_run_that_its_maker_has_let_go_of_is_let_go_of_here_and_shows_no_life(
    listener: Listener, queue_to: Callable[..., RunsSpanProcessor], monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    monkeypatch.setenv("OTEL_RUNS_HEARTBEAT", "0.05")
    listener.is_away = is_away
    processor = queue_to(listener, schedule_delay=0.01)
    tracer = tracer_of(processor)
    with tracer.start_as_current_span("kept"):
        dropped = [tracer.start_span("dropped", context=Context()) for _ in range(300)]
        processor.force_flush()
        alive = [weakref.ref(span) for span in dropped]
        del dropped
        wait_until(lambda: not any(each() for each in alive), what="the end of spans that nobody holds")
        listener.is_away = False
        wait_until(lambda: bool(listener.heartbeats), what="heartbeats")
        processor.force_flush()
        so_far = len(listener.heartbeats)
        wait_until(lambda: len(listener.heartbeats) > so_far + 3, what="more heartbeats")

    assert {span.name for span in listener.heartbeats[so_far:]} == {"kept"}
    assert ("dropped" in listener.names()) is not is_away


def test_long_queue_does_not_silence_the_heartbeats(
    listener: Listener, queue_to: Callable[..., RunsSpanProcessor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_HEARTBEAT", "0.05")
    processor = queue_to(listener, schedule_delay=0.01, max_batch_size=1)
    tracer = tracer_of(processor)
    with tracer.start_as_current_span("nightly"):
        processor.force_flush()
        listener.seconds_a_batch = 0.1
        for number in range(10):
            tracer.start_span(str(number)).end()
        wait_until(lambda: len(listener.ended) >= 9, what="nine batches")
        assert len(listener.heartbeats) >= 5


WAYS_TO_BE_BUSY = {
    "in native code": "hashlib.pbkdf2_hmac('sha256', b'', b'', 200_000_000)",
    "in asyncio": "asyncio.run(asyncio.sleep(30))",
    "in Python": "\n    while True: pass",
}


@pytest.mark.parametrize("busy", WAYS_TO_BE_BUSY.values(), ids=WAYS_TO_BE_BUSY.keys())
def test_heartbeats_go_on_while_the_pipeline_is_busy_and_its_rows_stay_when_it_is_killed(
    programs: Programs, busy: str
) -> None:
    path = programs.write(HEAD + "import asyncio, hashlib\nwith tracer.start_as_current_span('nightly'):\n    " + busy)
    pipeline = programs.start([sys.executable, str(path)], environ={"OTEL_RUNS_HEARTBEAT": "0.2"})
    try:
        seen: set[object] = set()

        def beats() -> bool:
            if programs.database.exists():
                seen.update(told(programs))
            return len(seen) >= 4

        wait_until(beats, what="heartbeats")
        assert pipeline.poll() is None
    finally:
        kill(pipeline)

    assert programs.rows("SELECT name, status, completed_at FROM runs") == [("nightly", "running", None)]


def told(programs: Programs) -> list[tuple[object, ...]]:
    if not programs.rows("SELECT 1 FROM sqlite_master WHERE name = 'v_runs'"):
        return []  # the tables are being made
    return programs.rows("SELECT heartbeat_at FROM runs WHERE heartbeat_at IS NOT NULL")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


@needs_fork
def test_forked_child_tells_of_its_own_spans_and_not_of_its_parents(programs: Programs) -> None:
    """The parent dies right after the fork; a child that spoke for it would make its run seem to live on."""
    done = programs.python(
        HEAD
        + """
with tracer.start_as_current_span("parent"):
    otel_runs.configure().flush()
    if os.fork() == 0:
        from opentelemetry.context import Context
        with tracer.start_as_current_span("child", context=Context()):
            time.sleep(2)
        os._exit(0)
    os.kill(os.getpid(), 9)
""",
        environ={"OTEL_RUNS_HEARTBEAT": "0.5"},
    )

    assert done.returncode == -9
    [(child_started, child_lived)] = programs.rows("SELECT started_at, heartbeat_at FROM runs WHERE name = 'child'")
    [(parent_lived,)] = programs.rows("SELECT heartbeat_at FROM runs WHERE name = 'parent'")
    assert parent_lived < child_started < child_lived
