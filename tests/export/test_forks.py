"""Spans of forked children and of worker processes are stored, once, and a fork neither hangs nor harms."""

from __future__ import annotations

import os

import pytest

from tests.export.pipeline import HEAD
from tests.programs import Programs
from tests.stored_names import names_in
from tests.systems import needs_fork


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
