"""A signal may come at any moment, also while locks are held and at the end."""

from __future__ import annotations

import signal
import sqlite3
import sys
import time
from contextlib import closing

import pytest

from otel_runs.store.engine import open_database
from tests.export.signalled import CANCELLED, HEAD, NIGHTLY, killed, started, the_run
from tests.programs import TIMEOUT, Programs
from tests.systems import needs_signals

pytestmark = needs_signals


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
stay()
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
"""
    )

    assert (done.returncode, done.stdout) == (0, "{-15}\n"), done.stderr
    assert programs.rows("SELECT status, stop_reason, count(*) FROM runs WHERE name <> 'before' GROUP BY 1, 2") == [
        (*CANCELLED, 15)
    ]
    assert programs.rows("SELECT DISTINCT status FROM model_runs WHERE name = 'load'") == [("cancelled",)]


def test_a_call_that_the_main_thread_does_not_hear_is_repeated(programs: Programs) -> None:
    """As one that comes when it is just falling asleep."""
    died = killed(
        programs,
        """
heard = signal.pthread_kill
def not_heard(thread, number):
    os.write(1, b"not heard")
    signal.pthread_kill = heard
signal.pthread_kill = not_heard
"""
        + NIGHTLY,
        signal.SIGTERM,
    )

    assert (died.code, died.stdout, died.stderr) == (-signal.SIGTERM, "not heard", "")
    assert the_run(programs) == CANCELLED


def test_a_signal_at_the_end_waits_for_what_is_being_stored(programs: Programs) -> None:
    open_database(programs.database).close()
    other = sqlite3.connect(programs.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with closing(other):
        code = HEAD + NIGHTLY.replace("ready()", "pass") + "print('ready', flush=True)"
        with started(programs, [sys.executable, str(programs.write(code))]) as process:
            time.sleep(0.5)  # or the signal comes before the end, and is as welcome
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            assert process.poll() is None
            other.execute("ROLLBACK")
            assert process.wait(TIMEOUT) == -signal.SIGTERM

    assert the_run(programs) == ("completed", "completed")


def test_a_program_that_comes_to_its_end_while_a_signal_ends_it_is_stored_and_dies_of_the_signal(
    programs: Programs,
) -> None:
    """What calls its main thread back must not look like somebody who sends the signal again, a second later."""
    open_database(programs.database).close()
    other = sqlite3.connect(programs.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    code = """
import atexit, os, signal, time, otel_runs
otel_runs.configure("runs.db")
atexit.register(print, "ready", flush=True)
with otel_runs.run("nightly"), otel_runs.step("load"):
    os.kill(os.getpid(), signal.SIGTERM)
"""
    with closing(other), started(programs, [sys.executable, str(programs.write(code))]) as process:
        time.sleep(2)
        assert process.poll() is None
        other.execute("ROLLBACK")
        assert process.wait(TIMEOUT) == -signal.SIGTERM

    assert the_run(programs) == CANCELLED
