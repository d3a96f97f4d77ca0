"""A process that is asked to end by a signal does so, with its exit code, and its runs and steps say that it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from otel_runs.store.engine import open_database
from tests.databases import one_of_each_kind
from tests.export.signalled import CANCELLED, HEAD, NIGHTLY, killed, started, steps, the_run
from tests.programs import TIMEOUT, Programs, otel_runs_command
from tests.systems import needs_signals

pytestmark = needs_signals


@one_of_each_kind
def test_open_run_and_steps_end_as_cancelled_and_the_process_dies_of_the_signal(
    programs: Programs, database_url_for_test: str
) -> None:
    # One of them is enough on each database.
    number = signal.SIGTERM if "sqlite" in database_url_for_test else signal.SIGHUP

    died = killed(programs, NIGHTLY, number, environ={"URL": database_url_for_test})

    assert (died.code, died.stderr) == (-number, "")
    reason = f"signal:{number.name}"
    with open_database(database_url_for_test) as database, database.engine.connect() as connection:
        runs = connection.execute(text("SELECT status, stop_reason, status_source, error FROM runs")).fetchall()
        rows = connection.execute(text("SELECT name, status, stop_reason FROM model_runs ORDER BY started_at"))
        assert [tuple(row) for row in runs] == [("cancelled", reason, "signal", None)]
        assert [tuple(row) for row in rows] == [("done", "success", "completed"), ("load", "cancelled", reason)]


def test_plain_spans_end_as_well_also_those_of_other_threads(programs: Programs) -> None:
    died = killed(
        programs,
        """
otel_runs.configure(url)
def work(context):
    with trace.use_span(context), tracer.start_as_current_span("in thread"):
        started.set()
        stay()
started = threading.Event()
with tracer.start_as_current_span("nightly") as span:
    threading.Thread(target=work, args=(span,)).start()
    started.wait()
    with tracer.start_as_current_span("in main thread"):
        ready()
""",
        signal.SIGTERM,
    )

    assert (died.code, died.stderr) == (-signal.SIGTERM, "")
    assert the_run(programs) == CANCELLED
    assert steps(programs) == {"in thread": CANCELLED, "in main thread": CANCELLED}


def test_a_signal_in_an_asyncio_program_ends_all_its_tasks_spans(programs: Programs) -> None:
    died = killed(
        programs,
        """
otel_runs.configure(url)
@step
async def load(name):
    await stay_async()
@run
async def nightly():
    asyncio.get_running_loop().call_later(0.1, print, "ready")
    asyncio.get_running_loop().call_later(0.1, sys.stdout.flush)
    await asyncio.gather(load("a"), load("b"))
asyncio.run(nightly())
""",
        signal.SIGTERM,
    )

    assert (died.code, died.stderr) == (-signal.SIGTERM, "")
    assert the_run(programs) == CANCELLED
    assert programs.rows("SELECT name, status, stop_reason FROM model_runs") == [("load", *CANCELLED)] * 2


def test_ctrl_c_in_asyncio_run_is_named_too(programs: Programs) -> None:
    died = killed(
        programs,
        """
otel_runs.configure(url)
@run
async def nightly():
    with step("load"):
        asyncio.get_running_loop().call_later(0.1, lambda: print("ready", flush=True))
        await stay_async()
asyncio.run(nightly())
""",
        signal.SIGINT,
    )

    assert died.code == -signal.SIGINT
    assert the_run(programs) == ("cancelled", "signal:SIGINT")
    assert steps(programs) == {"load": ("cancelled", "signal:SIGINT")}


@pytest.mark.parametrize("start", ["os.fork()", "multiprocessing"])
def test_a_forked_child_dies_as_it_would_and_ends_its_own_spans_only(programs: Programs, start: str) -> None:
    child = """
def child():
    with step("of the child"):
        os.write(w, b".")
        stay()
r, w = os.pipe()
otel_runs.configure(url)
"""
    if start == "os.fork()":
        body = """
    pid = os.fork()
    if pid == 0: child()
    os.read(r, 1); os.kill(pid, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    else:
        body = """
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start(); os.read(r, 1); process.terminate(); process.join()
    print(process.exitcode)
"""

    done = programs.python(HEAD + child + 'with run("nightly"), step("of the parent"):' + body)

    assert (done.returncode, done.stdout, done.stderr) == (0, "-15\n", "")
    assert the_run(programs)[0] == "completed"
    assert steps(programs) == {"of the child": CANCELLED, "of the parent": ("success", "completed")}


@pytest.mark.parametrize(
    ("method", "sampler"),
    [("os.fork()", "always_on"), ("fork", "always_off"), ("spawn", "always_on"), ("forkserver", "always_off")],
)
def test_a_worker_watches_signals_only_while_it_has_something_to_lose(
    programs: Programs, method: str, sampler: str
) -> None:
    """A pool ends workers that wait for work, and then waits for them: a handler may not be heard there."""
    workers = """
def is_watched():
    return signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
def work():
    said = [is_watched()]
    for _ in range(2):
        with step("outer"):
            said.append(is_watched())
            with tracer.start_as_current_span("inner"): pass
            said.append(is_watched())
        said.append(is_watched())
    print(*said, flush=True)
otel_runs.configure("runs.db", otlp_endpoint="http://127.0.0.1:9")
"""
    body = """
if __name__ == "__main__":
    assert is_watched()
    if method == "os.fork()":
        if os.fork() == 0:
            work()
            os._exit(0)
        os.wait()
    else:
        process = multiprocessing.get_context(method).Process(target=work)
        process.start(); process.join()
    assert is_watched()
"""

    done = programs.python(
        HEAD + workers + f"method = {method!r}\n" + body,
        environ={"OTEL_TRACES_SAMPLER": sampler, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"},
    )

    assert (done.returncode, done.stdout) == (0, "False True True False True True False\n"), done.stderr
    assert programs.rows("SELECT count(*) FROM model_runs") == [(2,)]


def test_a_worker_watches_for_its_main_thread_whatever_others_do_and_for_no_span_that_was_let_go_of(
    programs: Programs,
) -> None:
    done = programs.python(
        HEAD
        + """
import gc
otel_runs.configure(url)
def is_watched():
    return signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
opened, seen = threading.Event(), threading.Event()
def other():
    with step("of another thread"):
        opened.set()
        seen.wait()
if os.fork() == 0:
    thread = threading.Thread(target=other)
    thread.start(); opened.wait()
    with step("first"):
        print(is_watched())
    seen.set(); thread.join()
    tracer.start_span("never ended")
    with step("second"): pass
    gc.collect()  # it refers to itself
    with step("third"): pass
    print(is_watched(), flush=True)
    os._exit(0)
os.wait()
"""
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nFalse\n", "")


def test_below_exec_the_program_ends_its_steps_and_exec_the_run(programs: Programs) -> None:
    program = programs.write(HEAD + "with step('load'): ready()")
    command = otel_runs_command("exec", "--db", "runs.db", "--", sys.executable, str(program))
    with started(programs, command) as process:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=TIMEOUT)

    assert (process.returncode, stderr) == (-signal.SIGTERM, "")
    assert programs.rows("SELECT status, stop_reason, status_source FROM runs") == [(*CANCELLED, "signal")]
    assert steps(programs) == {"load": CANCELLED}


def test_the_first_process_of_a_container_ends_by_sigterm(programs: Programs) -> None:
    """The kernel keeps the signal from it as long as it has no handler."""
    first = ["unshare", "--pid", "--fork", "--user", "--map-root-user", "--kill-child"]
    if not hasattr(os, "getuid") or subprocess.run([*first, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a user make a process namespace")
    code = NIGHTLY.replace("ready()", "print(os.getpid(), flush=True); os.kill(1, 15); stay()")

    done = programs.run([*first, sys.executable, str(programs.write(HEAD + code))])

    assert (done.returncode, done.stdout) == (143, "1\n")
    assert the_run(programs) == CANCELLED
