"""A pipeline that ends has its spans stored, however it ends; and its end waits for a bounded time only."""

from __future__ import annotations

import signal
import sqlite3
import time

import pytest

from otel_runs.store.engine import open_database
from tests.export.pipeline import HEAD
from tests.programs import Programs
from tests.stored_names import names_in
from tests.systems import needs_signals

SECONDS = 20.0
"""What an end may take beyond its flush timeout on a busy machine, imports included; the default timeout is 30."""

SETTINGS_OF_SECONDS = ("OTEL_RUNS_FLUSH_TIMEOUT", "OTEL_RUNS_HEARTBEAT", "OTEL_RUNS_SIGNAL_TIMEOUT")


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('x')", 1),
        ("import threading; threading.Thread(target=work, args=('late',)).start()", 0),
    ],
    ids=["last line", "sys.exit", "uncaught exception", "thread that outlives the main one"],
)
def test_spans_are_stored_at_the_end(programs: Programs, ending: str, code: int) -> None:
    done = programs.python(HEAD + "work('a')\n" + ending)

    assert done.returncode == code
    assert names_in(programs.database) == (["a", "late"] if "late" in ending else ["a"])


@pytest.mark.parametrize("first", ["configure", "step", "generator", "OTEL_RUNS_DB"])
def test_a_generator_that_is_still_held_at_the_exit_is_stored_as_unfinished(programs: Programs, first: str) -> None:
    configured = 'otel_runs.configure("runs.db")'
    done = programs.python(
        f"""
import otel_runs
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
{configured if first == "configure" else ""}

@otel_runs.step(rows_out="len")
def items():
    yield 1
    yield 2

if {first == "generator"}:
    trace.set_tracer_provider(TracerProvider())
    list(items())
{configured if first in ("step", "generator") else ""}
with otel_runs.run("main"):
    held = items()
    next(held)
""",
        environ={"OTEL_RUNS_DB": "runs.db"} if first == "OTEL_RUNS_DB" else {},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT name, status, stop_reason FROM model_runs") == [("items", "cancelled", "unfinished")]


def test_a_database_that_never_answers_delays_the_end_by_the_flush_timeout_only(
    programs: Programs, silent_database: str
) -> None:
    program = HEAD.replace("runs.db", silent_database)

    done = programs.python(
        program + "work('a')\nimport time; print(time.time(), flush=True)", environ={"OTEL_RUNS_FLUSH_TIMEOUT": "1"}
    )

    took = time.time() - float(done.stdout)
    assert done.returncode == 0
    assert 0.9 < took < 1 + SECONDS
    assert "1 span is not stored in time" in done.stderr


def test_a_locked_database_delays_the_end_by_the_flush_timeout_only(programs: Programs) -> None:
    open_database(programs.database).close()
    other = sqlite3.connect(programs.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    done = programs.python(
        HEAD + "work('a')\nimport time; print(time.time(), flush=True)", environ={"OTEL_RUNS_FLUSH_TIMEOUT": "1"}
    )

    took = time.time() - float(done.stdout)
    other.close()
    assert done.returncode == 0
    assert 0.9 < took < 1 + SECONDS
    assert "1 span is not stored in time" in done.stderr


def test_two_hanging_exporters_share_one_flush_timeout(
    programs: Programs, silent_server: int, silent_database: str
) -> None:
    done = programs.python(
        f"""
        import time, otel_runs
        from opentelemetry import trace
        otel_runs.configure({silent_database!r}, otlp_endpoint="http://127.0.0.1:{silent_server}")
        with trace.get_tracer("t").start_as_current_span("a"): pass
        print(time.time(), flush=True)
        """,
        environ={"OTEL_RUNS_FLUSH_TIMEOUT": "4"},
    )

    took = time.time() - float(done.stdout)
    assert 3.9 < took < 2 * 4


def test_stock_processors_that_still_hold_spans_share_the_flush_timeout(
    programs: Programs, silent_database: str
) -> None:
    done = programs.python(
        f"""
        import time, otel_runs
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        provider = TracerProvider()
        for _ in range(2):
            provider.add_span_processor(BatchSpanProcessor(otel_runs.RunsSpanExporter({silent_database!r})))
        trace.set_tracer_provider(provider)
        with trace.get_tracer("t").start_as_current_span("before"): pass
        otel_runs.configure({silent_database!r})
        print(time.time(), flush=True)
        """,
        environ={"OTEL_RUNS_FLUSH_TIMEOUT": "2"},
    )

    took = time.time() - float(done.stdout)
    assert 1.9 < took < 3 * 2


@pytest.mark.parametrize("text", ["soon", "99999999999", "1e300", "nan", "-1"])
def test_bad_seconds_are_told_and_the_default_taken(programs: Programs, text: str) -> None:
    done = programs.python(HEAD + "work('a')", environ=dict.fromkeys(SETTINGS_OF_SECONDS, text))

    assert done.returncode == 0
    for name in SETTINGS_OF_SECONDS:
        assert f"{name} is {text!r}: expected a number of seconds, 0 to 1000000000." in done.stderr
    assert done.stderr.count("Taking the default") == len(SETTINGS_OF_SECONDS)
    assert "Traceback" not in done.stderr
    assert names_in(programs.database) == ["a"]


def test_the_longest_seconds_that_can_be_set_harm_nothing(programs: Programs) -> None:
    done = programs.python(
        HEAD + "with tracer.start_as_current_span('a'): assert otel_runs.configure().flush()\nwork('b')",
        environ=dict.fromkeys(SETTINGS_OF_SECONDS, "1000000000"),
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert names_in(programs.database) == ["a", "b"]


@needs_signals
def test_a_signal_may_take_the_longest_time_that_can_be_set(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
import signal, time
with tracer.start_as_current_span("a"):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
""",
        environ={"OTEL_RUNS_SIGNAL_TIMEOUT": "1000000000"},
    )

    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    assert programs.rows("SELECT name, status FROM runs") == [("a", "cancelled")]


@pytest.mark.parametrize("timeout", ["math.inf", "1e300", "None"])
def test_a_flush_may_wait_for_ever(programs: Programs, timeout: str) -> None:
    done = programs.python(HEAD + f"import math\nwork('a')\nprint(otel_runs.configure().flush({timeout}))")

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert names_in(programs.database) == ["a"]


def test_an_unreadable_strict_setting_is_told_once_and_costs_no_span(programs: Programs) -> None:
    done = programs.python(HEAD + "work('a')\nwork('b')", environ={"OTEL_RUNS_STRICT": "maybe"})

    assert done.returncode == 0
    assert done.stderr.count("OTEL_RUNS_STRICT is 'maybe': expected true or false") == 1
    assert "Traceback" not in done.stderr
    assert set(names_in(programs.folder / "runs.db")) >= {"a", "b"}


def test_what_the_full_queue_drops_is_the_oldest_and_is_counted(programs: Programs) -> None:
    done = programs.python(
        """
        import threading
        import otel_runs
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
        from otel_runs.export.processor import RunsSpanProcessor
        busy, go = threading.Event(), threading.Event()
        seen = []
        class Slow(SpanExporter):
            def export(self, spans):
                busy.set()
                go.wait(30)
                seen.extend(span.name for span in spans)
                return SpanExportResult.SUCCESS
        processor = RunsSpanProcessor(Slow(), max_queue_size=3, max_batch_size=1)
        provider = TracerProvider()
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("t")
        tracer.start_span("first").end()
        assert busy.wait(30)
        for number in range(5):
            tracer.start_span(str(number)).end()
        go.set()
        assert processor.force_flush()
        print(seen, otel_runs.stats().spans_dropped)
        """
    )

    assert done.stdout == "['first', '2', '3', '4'] 2\n"
    assert done.stderr.count("the oldest are dropped") == 1


def test_strict_raises_an_export_error_at_the_flush(programs: Programs) -> None:
    programs.database.write_bytes(b"no database " * 200)
    done = programs.python(HEAD + "work('a')\notel_runs.configure().flush()", environ={"OTEL_RUNS_STRICT": "true"})

    assert done.returncode == 1
    assert "SchemaError" in done.stderr


def test_spans_after_the_shutdown_are_counted_not_lost_in_silence(programs: Programs) -> None:
    done = programs.python(
        HEAD + "otel_runs.configure().shutdown()\nwork('late')\nprint(otel_runs.stats().spans_dropped)"
    )

    assert done.stdout == "1\n"
    assert "ended after the shutdown" in done.stderr
