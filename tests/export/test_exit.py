"""A pipeline that ends has its spans stored, however it ends; and its end waits for a bounded time only."""

from __future__ import annotations

import os
import signal
import sqlite3
import time

import pytest

from otel_runs.store.engine import open_database
from tests.programs import Programs
from tests.stored_names import names_in

HEAD = """
import os, sys, multiprocessing
from concurrent.futures import ProcessPoolExecutor
import otel_runs
from opentelemetry import trace
otel_runs.configure("runs.db")
tracer = trace.get_tracer("t")
def work(name):
    with tracer.start_as_current_span(name):
        pass
"""
SECONDS = 20.0
"""What an end may take beyond its flush timeout on a busy machine, imports included; the default timeout is 30."""

SETTINGS_OF_SECONDS = ("OTEL_RUNS_FLUSH_TIMEOUT", "OTEL_RUNS_HEARTBEAT", "OTEL_RUNS_SIGNAL_TIMEOUT")

needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no signals")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


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


@needs_fork
@pytest.mark.parametrize("ending", ["sys.exit(0)", "os._exit(0)"])
def test_spans_of_a_forked_child_are_stored(programs: Programs, ending: str) -> None:
    done = programs.python(
        HEAD
        + f"""
work("before")
with tracer.start_as_current_span("parent"):
    child = os.fork()
    if child == 0:
        work("in child")
        {ending}
    os.waitpid(child, 0)
"""
    )

    assert done.returncode == 0
    assert names_in(programs.database) == ["before", "in child", "parent"]


@needs_fork
@pytest.mark.parametrize("known", ["import otel_runs", "import multiprocessing", ""])
def test_spans_of_a_forked_child_that_sets_up_for_itself_are_stored(programs: Programs, known: str) -> None:
    """As the workers of RQ, Airflow and Celery do, which import the pipeline after the fork."""
    done = programs.python(
        f"""
import os
{known}
if os.fork() == 0:
    import otel_runs
    from opentelemetry import trace
    otel_runs.configure("runs.db")
    with trace.get_tracer("t").start_as_current_span("in child"):
        pass
    os._exit(0)
os.wait()
"""
    )

    assert done.returncode == 0, done.stderr
    assert names_in(programs.database) == ["in child"]


@needs_fork
def test_a_child_does_not_store_again_what_its_parent_had_queued(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
work("queued")
if os.fork() == 0:
    work("in child")
    print(otel_runs.stats().spans_received, flush=True)
    os._exit(0)
os.wait()
"""
    )

    assert done.stdout == "1\n"
    assert names_in(programs.database) == ["in child", "queued"]


@needs_fork
@pytest.mark.parametrize("ending", ["sys.exit(5)", "raise ValueError('in child')", "return"])
def test_a_child_that_leaves_through_its_parents_blocks_ends_none_of_them(programs: Programs, ending: str) -> None:
    done = programs.python(
        f"""
import os, sys
from otel_runs import configure, record, run, step
configure("runs.db")

@step(rows_out="len")
def items():
    yield 1
    yield 2

@step
def inner():
    for _ in items():
        child = os.fork()
        if child == 0:
            record(rows_out=77)
            with step("of the child"):
                pass
            {ending}
        os.waitpid(child, 0)
    record(rows_out=2)

@run
def main():
    inner()

main()
"""
    )

    assert done.returncode == 0
    assert "ended span" not in done.stderr
    assert programs.rows("SELECT name, status, stop_reason FROM runs") == [("main", "completed", "completed")]
    assert programs.rows("SELECT name, status, rows_out FROM model_runs ORDER BY started_at") == [
        ("inner", "success", 2),
        ("items", "success", 2),
        ("of the child", "success", None),
        ("of the child", "success", None),
    ]


@pytest.mark.parametrize("first", ["configure", "step", "OTEL_RUNS_DB"])
def test_a_generator_that_is_still_held_at_the_exit_is_stored_as_unfinished(programs: Programs, first: str) -> None:
    configured = 'otel_runs.configure("runs.db")'
    done = programs.python(
        f"""
import otel_runs
{configured if first == "configure" else ""}

@otel_runs.step(rows_out="len")
def items():
    yield 1
    yield 2

{configured if first == "step" else ""}
with otel_runs.run("main"):
    held = items()
    next(held)
""",
        environ={"OTEL_RUNS_DB": "runs.db"} if first == "OTEL_RUNS_DB" else {},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert programs.rows("SELECT name, status, stop_reason FROM model_runs") == [("items", "cancelled", "unfinished")]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    "body",
    [
        "p = context.Process(target=work, args=('x',)); p.start(); p.join()",
        "with ProcessPoolExecutor(2, mp_context=context) as pool: list(pool.map(work, ['x']))",
        # The end of the block kills the workers.
        "with context.Pool(2) as pool: pool.map(work, ['x'])",
        "with context.Pool(1, maxtasksperchild=1) as pool: pool.map(work, ['x', 'y'], chunksize=1)",
    ],
    ids=["Process", "ProcessPoolExecutor", "Pool", "Pool of one task a process"],
)
def test_spans_of_multiprocessing_workers_are_stored(programs: Programs, method: str, body: str) -> None:
    if method != "spawn" and not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    done = programs.python(
        HEAD
        + f"""
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    work("main")
    {body}
"""
    )

    assert done.returncode == 0, done.stderr
    assert names_in(programs.database) == ["main", *(name for name in ("x", "y") if f"'{name}'" in body)]


@needs_fork
def test_a_child_waits_for_the_write_only_when_its_outermost_span_ends(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
from otel_runs.export.processor import RunsSpanProcessor
flushes = []
flush = RunsSpanProcessor.force_flush
RunsSpanProcessor.force_flush = lambda self, *given: flushes.append(1) or flush(self, *given)
if os.fork() == 0:
    with tracer.start_as_current_span("task"):
        for _ in range(10):
            work("inner")
    print(len(flushes), flush=True)
    os._exit(0)
os.wait()
"""
    )

    assert done.stdout == "1\n"
    assert len(names_in(programs.database)) == 11


@needs_fork
def test_a_fork_waits_while_the_first_batch_imports_the_database_parts(programs: Programs) -> None:
    """Else the child would inherit half-imported modules, behind locks that nobody releases."""
    done = programs.python(
        HEAD
        + """
import threading, time
importing = threading.Event()
class SlowImport:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlalchemy":
            importing.set()
            time.sleep(0.5)
sys.meta_path.insert(0, SlowImport())
work("parent")
assert importing.wait(30)
if os.fork() == 0:
    work("child")
    os._exit(0)
os.wait()
"""
    )

    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr
    assert names_in(programs.database) == ["child", "parent"]


@needs_fork
def test_forking_while_batches_are_written_loses_and_hangs_nothing(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
import threading
stop = threading.Event()
def busy():
    while not stop.is_set():
        work("busy")
        stop.wait(0.001)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads: thread.start()
for number in range(10):
    child = os.fork()
    if child == 0:
        work(f"child {number}")
        os._exit(0)
    os.waitpid(child, 0)
stop.set()
for thread in threads: thread.join()
"""
    )

    assert done.returncode == 0, done.stderr
    assert sum(name.startswith("child") for name in names_in(programs.database)) == 10


def test_nothing_is_imported_once_the_database_is_open(programs: Programs) -> None:
    """A fork waits for the opening, imports among it; it would not wait for an import that comes later."""
    done = programs.python(
        """
import sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otel_runs import RunsSpanExporter

class Watched(RunsSpanExporter):
    loaded = None
    def _opened(self):
        opened = super()._opened()
        Watched.loaded = Watched.loaded or set(sys.modules)
        return opened

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Watched("runs.db")))
tracer = provider.get_tracer("tests")
with tracer.start_as_current_span("run"), tracer.start_as_current_span("step"):
    pass
print(sorted(sys.modules.keys() - Watched.loaded))
"""
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert names_in(programs.database) == ["run", "step"]


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
