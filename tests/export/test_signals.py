"""A process that is asked to end by a signal does so, with its exit code, and its runs and steps say that it did."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from otel_runs.store.engine import open_database
from tests.databases import one_of_each_kind
from tests.programs import TIMEOUT, Programs, otel_runs_command

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no signals")

HEAD = """
import asyncio, logging, multiprocessing, os, signal, sys, threading, time
import otel_runs
from opentelemetry import trace
from otel_runs import run, step
url = os.environ.get("URL", "runs.db")
tracer = trace.get_tracer("t")
def ready():
    print("ready", flush=True)
    time.sleep(60)
"""
NIGHTLY = """
otel_runs.configure(url)
with run("nightly"):
    with step("done"): pass
    with step("load"):
        ready()
"""
CANCELLED = ("cancelled", "signal:SIGTERM")


class Died(NamedTuple):
    code: int
    stdout: str
    stderr: str
    seconds: float
    """From the signal to the end."""


def killed(programs: Programs, code: str, *numbers: int, environ: dict[str, str] | None = None) -> Died:
    """Run a program until it says that it is ready, and send it signals."""
    environ = {"OTEL_RUNS_SIGNAL_TIMEOUT": "30", **(environ or {})}
    with ExitStack() as stack:
        process = programs.start([sys.executable, str(programs.write(HEAD + code))], environ=environ)
        stack.callback(process.communicate)
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        asked = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.2 if len(numbers) > 1 else 0)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        return Died(process.returncode, stdout, stderr, time.monotonic() - asked)


def the_run(programs: Programs) -> tuple[Any, ...]:
    (run,) = programs.rows("SELECT status, stop_reason FROM runs")
    return run


def steps(programs: Programs) -> dict[str, tuple[Any, ...]]:
    return {name: tuple(rest) for name, *rest in programs.rows("SELECT name, status, stop_reason FROM model_runs")}


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
        time.sleep(60)
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
    await asyncio.sleep(60)
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
        await asyncio.sleep(60)
asyncio.run(nightly())
""",
        signal.SIGINT,
    )

    assert died.code == -signal.SIGINT
    assert the_run(programs) == ("cancelled", "signal:SIGINT")
    assert steps(programs) == {"load": ("cancelled", "signal:SIGINT")}


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        ("def handler(number, frame): sys.exit(143)", 143),
        ("def handler(number, frame): signal.signal(number, signal.SIG_IGN); sys.exit()", 0),
        ("handler = lambda *_: sys.exit('stopped')", 1),
        ("def handler(number, frame): raise KeyboardInterrupt", -signal.SIGINT),
        ("class Stop(Exception): pass\ndef handler(number, frame): raise Stop", 1),
        ("class Stopper:\n  def stop(self, number, frame=None): sys.exit(3)\nhandler = Stopper().stop", 3),
    ],
    ids=["exit code", "exit 0", "lambda", "KeyboardInterrupt", "exception of its own", "method"],
)
def test_a_handler_of_the_pipelines_has_the_say_and_the_ending_names_the_signal(
    programs: Programs, handler: str, code: int
) -> None:
    set_it = f"{handler}\nsignal.signal(signal.SIGTERM, handler)\n"
    # Every other one is set before we are, the rest after.
    program = set_it + NIGHTLY if code in (143, 1) else NIGHTLY.replace("with run", set_it + "with run")

    died = killed(programs, program, signal.SIGTERM)

    assert died.code == code
    assert the_run(programs) == CANCELLED
    assert steps(programs) == {"done": ("success", "completed"), "load": CANCELLED}


def test_plain_spans_that_a_handler_of_the_pipelines_leaves_name_the_signal(programs: Programs) -> None:
    died = killed(
        programs,
        """
otel_runs.configure(url)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with tracer.start_as_current_span("nightly"), tracer.start_as_current_span("load"):
    ready()
""",
        signal.SIGTERM,
    )

    assert (died.code, died.stderr) == (0, "")
    assert the_run(programs) == CANCELLED
    assert steps(programs) == {"load": CANCELLED}


def test_a_handler_that_lets_the_pipeline_go_on_ends_nothing(programs: Programs) -> None:
    died = killed(
        programs,
        """
otel_runs.configure(url)
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
with run("nightly"), step("load"):
    print("ready", flush=True)
    while not asked.is_set(): time.sleep(0.01)
""",
        signal.SIGTERM,
    )

    assert died.code == 0
    assert the_run(programs) == ("completed", "completed")
    assert steps(programs) == {"load": ("success", "completed")}


def test_an_exit_of_its_own_is_not_taken_for_a_signals(programs: Programs) -> None:
    programs.python(HEAD + "signal.signal(signal.SIGTERM, lambda *_: None)\n" + NIGHTLY.replace("ready()", "exit(143)"))

    assert the_run(programs) == ("failed", "exit:143")


def test_an_ignored_signal_stays_ignored(programs: Programs) -> None:
    died = killed(
        programs,
        """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
otel_runs.configure(url)
with run("nightly"):
    print("ready", flush=True)
    time.sleep(1)
""",
        signal.SIGHUP,
    )

    assert died.code == 0
    assert the_run(programs) == ("completed", "completed")


@pytest.mark.parametrize("start", ["os.fork()", "multiprocessing"])
def test_a_forked_child_dies_as_it_would_and_ends_its_own_spans_only(programs: Programs, start: str) -> None:
    child = """
def child():
    with step("of the child"):
        os.write(w, b".")
        time.sleep(60)
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


def test_programs_that_are_started_have_the_default(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
import subprocess
otel_runs.configure(url)
ask = "import signal; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
subprocess.run([sys.executable, "-c", ask])
"""
    )

    assert done.stdout == "False\nTrue\n"


@pytest.mark.parametrize(
    "lock",
    ["span._lock", "logging._lock", "threading._active_limbo_lock", "setup._processors[0]._wake._cond"],
    ids=["of a span", "of logging", "of threading", "of a queue"],
)
def test_a_signal_that_comes_while_a_lock_is_held_does_not_hang(programs: Programs, lock: str) -> None:
    """The handler runs inside of what holds the lock, which the work needs."""
    died = killed(
        programs,
        f"""
setup = otel_runs.configure(url)
span = tracer.start_span("nightly")
print("ready", flush=True)
with {lock}:
    os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
""",
    )

    assert (died.code, died.stderr) == (-signal.SIGTERM, "")
    assert the_run(programs) == CANCELLED


@pytest.mark.parametrize(
    "busy",
    ["span.set_attribute('n', n)", "logging.warning('%d', n)", "otel_runs.record(rows_in=n)", "work()"],
    ids=["set_attribute", "logging", "record", "steps"],
)
def test_a_signal_at_any_moment_neither_hangs_nor_changes_the_exit_code(programs: Programs, busy: str) -> None:
    done = programs.python(
        HEAD
        + f"""
import random
logging.basicConfig(filename="log")
otel_runs.configure(url)
def work():
    with step("inner"): pass
def child():
    os.close(r)
    with run("nightly"), step("load") as handle:
        span = handle.span
        os.write(w, b".")
        n = 0
        while True:
            n += 1
            {busy}
with run("before"): pass  # the children find the database parts imported
otel_runs.configure().flush()
codes = []
for _ in range(15):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0: child()
    os.close(w); os.read(r, 1); os.close(r)
    time.sleep(random.random() / 50)
    os.kill(pid, signal.SIGTERM)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(set(codes))
""",
        environ={"OTEL_RUNS_SIGNAL_TIMEOUT": "30"},
    )

    assert (done.returncode, done.stdout) == (0, "{-15}\n"), done.stderr
    assert programs.rows("SELECT status, stop_reason, count(*) FROM runs WHERE name <> 'before' GROUP BY 1, 2") == [
        (*CANCELLED, 15)
    ]
    assert programs.rows("SELECT DISTINCT status FROM model_runs WHERE name = 'load'") == [("cancelled",)]


@pytest.fixture
def silent_database() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/none?connect_timeout=60"


def test_a_database_that_never_answers_delays_the_death_by_the_timeout_only(
    programs: Programs, silent_database: str
) -> None:
    died = killed(programs, NIGHTLY, signal.SIGTERM, environ={"URL": silent_database, "OTEL_RUNS_SIGNAL_TIMEOUT": "1"})

    assert died.code == -signal.SIGTERM
    assert 0.9 < died.seconds < 30
    assert "spans are not stored" in died.stderr


def test_a_second_signal_kills_at_once(programs: Programs, silent_database: str) -> None:
    died = killed(
        programs,
        NIGHTLY,
        signal.SIGTERM,
        signal.SIGHUP,
        environ={"URL": silent_database, "OTEL_RUNS_SIGNAL_TIMEOUT": str(TIMEOUT)},
    )

    assert died.code == -signal.SIGHUP


def test_a_signal_at_the_end_waits_for_what_is_being_stored(programs: Programs) -> None:
    open_database(programs.database).close()
    other = sqlite3.connect(programs.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ExitStack() as stack:
        stack.callback(other.close)
        code = HEAD + NIGHTLY.replace("ready()", "pass") + "print('ready', flush=True)"
        process = programs.start([sys.executable, str(programs.write(code))])
        stack.callback(process.communicate)
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)  # or the signal comes before the end, and is as welcome
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        other.execute("ROLLBACK")
        assert process.wait(TIMEOUT) == -signal.SIGTERM

    assert the_run(programs) == ("completed", "completed")


SET_UPS = {
    "configure": ("otel_runs.configure(url)", {}, True),
    "environment": ("with run('nightly'): pass", {"OTEL_RUNS_DB": "runs.db"}, True),
    "nobody asks": ("with run('nightly'): pass", {}, False),
    "timeout 0": ("otel_runs.configure(url)", {"OTEL_RUNS_SIGNAL_TIMEOUT": "0"}, False),
    "shut down": ("otel_runs.configure(url).shutdown()", {}, False),
    "exporter": ("otel_runs.RunsSpanExporter(url)", {}, False),
    "thread": ("t = threading.Thread(target=otel_runs.configure, args=(url,)); t.start(); t.join()", {}, False),
    "blocked": ("signal.pthread_sigmask(signal.SIG_BLOCK, [15]); otel_runs.configure(url)", {}, False),
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each of them finds: children of one program, which has imported for all and set up nothing."""
    done = Programs(tmp_path_factory.mktemp("watched")).python(
        HEAD
        + f"""
for name, (code, environ, _) in {SET_UPS!r}.items():
    pid = os.fork()
    if pid == 0:
        os.environ.update(environ)
        exec(code)
        print(name, signal.getsignal(15) is not signal.SIG_DFL, signal.getsignal(2).__name__, sep=": ")
        sys.exit()
    assert os.waitpid(pid, 0)[1] == 0, name
"""
    )
    assert done.stderr == ""
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", SET_UPS)
def test_signals_are_watched_only_where_the_set_up_is_asked_for(watched: dict[str, str], name: str) -> None:
    *_, expected = SET_UPS[name]
    assert watched[name] == f"{expected}: default_int_handler"


def test_a_bad_timeout_is_told_and_the_default_taken(programs: Programs) -> None:
    died = killed(programs, NIGHTLY, signal.SIGTERM, environ={"OTEL_RUNS_SIGNAL_TIMEOUT": "soon"})

    assert died.code == -signal.SIGTERM
    assert "OTEL_RUNS_SIGNAL_TIMEOUT is 'soon'" in died.stderr
    assert the_run(programs) == CANCELLED


def test_below_exec_the_program_ends_its_steps_and_exec_the_run(programs: Programs) -> None:
    program = programs.write(HEAD + "with step('load'): ready()")
    process = programs.start(otel_runs_command("exec", "--db", "runs.db", "--", sys.executable, str(program)))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == -signal.SIGTERM
    finally:
        process.kill()
        _, stderr = process.communicate()

    assert stderr == ""
    assert programs.rows("SELECT status, stop_reason, status_source FROM runs") == [(*CANCELLED, "signal")]
    assert steps(programs) == {"load": CANCELLED}


def test_the_first_process_of_a_container_ends_by_sigterm(programs: Programs) -> None:
    """The kernel keeps the signal from it as long as it has no handler."""
    first = ["unshare", "--pid", "--fork", "--user", "--map-root-user", "--kill-child"]
    if not hasattr(os, "getuid") or subprocess.run([*first, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a user make a process namespace")
    code = NIGHTLY.replace("ready()", "print(os.getpid(), flush=True); os.kill(1, 15); time.sleep(60)")

    done = programs.run([*first, sys.executable, str(programs.write(HEAD + code))])

    assert (done.returncode, done.stdout) == (143, "1\n")
    assert the_run(programs) == CANCELLED
