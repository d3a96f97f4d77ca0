"""Threads that end early, late or not at all."""

from __future__ import annotations

from tests.programs import Programs

HEAD = """
import os, sys, threading, time
import otel_runs
otel_runs.configure("runs.db")
"""


def names(programs: Programs) -> list[str]:
    return [name for (name,) in programs.rows("SELECT name FROM runs UNION ALL SELECT name FROM model_runs ORDER BY 1")]


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
    assert {f"run {number}" for number in range(int(done.stdout))} <= set(names(programs))
