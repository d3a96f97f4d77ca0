"""Threads and processes that end early, late or not at all."""

from __future__ import annotations

from tests.programs import Programs, otel_runs_command
from tests.stored_names import names_in

HEAD = """
import os, sys, threading, time
import otel_runs
otel_runs.configure("runs.db")
"""


def test_thread_that_ends_by_sys_exit_or_an_exception_keeps_its_spans(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
def exits():
    with otel_runs.run("exits"):
        sys.exit(3)
def fails():
    with otel_runs.run("fails"):
        raise ValueError("x")
for target in (exits, fails):
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
"""
    )

    assert done.returncode == 0
    rows = programs.rows("SELECT name, status, stop_reason FROM runs ORDER BY name")
    assert rows == [("exits", "failed", "exit:3"), ("fails", "failed", "error")]


def test_what_a_daemon_thread_has_finished_is_stored_though_it_works_on_until_the_interpreter_is_gone(
    programs: Programs,
) -> None:
    done = programs.python(
        HEAD
        + """
finished = []
def work():
    while True:
        with otel_runs.run(f"run {len(finished)}"):
            pass
        finished.append(1)
        time.sleep(0.001)
threading.Thread(target=work, daemon=True).start()
while len(finished) < 20:
    time.sleep(0.01)
print(len(finished))
"""
    )

    assert done.returncode == 0, done.stderr
    assert {f"run {number}" for number in range(int(done.stdout))} <= set(names_in(programs.database))


REAPED = [("run", "failed", "lost", "reaper")]


def reap(programs: Programs) -> list[tuple[object, ...]]:
    """The runs, after what nobody will ever end was declared lost."""
    command = otel_runs_command("reap", "--older-than", "0.1s", "--watch", "1s", "--db", str(programs.database))
    done = programs.run(command)
    assert done.returncode == 0, done.stderr
    return programs.rows("SELECT name, status, stop_reason, status_source FROM runs")


def test_run_that_a_daemon_thread_leaves_open_is_reaped(programs: Programs) -> None:
    done = programs.python(
        HEAD
        + """
started = threading.Event()
def work():
    with otel_runs.run("run"):
        started.set()
        time.sleep(60)
threading.Thread(target=work, daemon=True).start()
started.wait()
otel_runs.configure().flush()
"""
    )

    assert done.returncode == 0, done.stderr
    assert programs.rows("SELECT name, status FROM runs") == [("run", "running")]
    assert reap(programs) == REAPED


def test_run_that_os_exit_leaves_open_is_reaped(programs: Programs) -> None:
    done = programs.python(HEAD + "with otel_runs.run('run'): otel_runs.configure().flush(); os._exit(0)")

    assert done.returncode == 0, done.stderr
    assert programs.rows("SELECT name, status FROM runs") == [("run", "running")]
    assert reap(programs) == REAPED
