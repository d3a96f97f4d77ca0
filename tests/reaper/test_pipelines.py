"""Real pipelines that are killed, stopped and woken up again, and what the reaper makes of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from otel_runs.store.engine import open_database
from tests.programs import Programs, otel_runs_command
from tests.reaper.lives import ELSEWHERE
from tests.waiting import wait_until

PIPELINE = """
import sys, time
import otel_runs

otel_runs.configure(sys.argv[1])
with otel_runs.run("nightly"):
    with otel_runs.step("extract"):
        pass
    with otel_runs.step("load"):
        print("loading", flush=True)
        sys.stdin.readline()
"""

Rows = list[tuple[object, ...]]


@pytest.fixture
def pipeline(programs: Programs, database_url_for_test: str) -> Iterator[subprocess.Popen[str]]:
    """A pipeline in the middle of its second step, whose rows are there; a line on its standard input lets it end."""
    program = programs.write(PIPELINE)
    command = [sys.executable, str(program), database_url_for_test]
    process = programs.start(command, environ={"OTEL_RUNS_HEARTBEAT": "1"})
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        wait_until(lambda: len(steps(database_url_for_test)) == 2, what="the rows of the steps")
        yield process
    finally:
        process.kill()
        process.communicate()


def asked(url: str, sql: str) -> Rows:
    with open_database(url) as database, database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def steps(url: str) -> Rows:
    return asked(url, "SELECT name, status, stop_reason FROM model_runs ORDER BY name")


def runs(url: str) -> Rows:
    return asked(url, "SELECT name, status, stop_reason, status_source FROM runs")


def stop(process: subprocess.Popen[str], url: str) -> None:
    """Stop it between two heartbeats: in the middle of one, it would hold the lock of its run."""
    last = asked(url, "SELECT heartbeat_at FROM runs")
    wait_until(lambda: asked(url, "SELECT heartbeat_at FROM runs") != last, what="a heartbeat")
    process.send_signal(signal.SIGSTOP)


@pytest.fixture
def reap(programs: Programs, database_url_for_test: str) -> Callable[[], dict[str, int]]:
    """Reaps what was not heard of for half a second; the number of runs by what became of them."""

    def run() -> dict[str, int]:
        options = ("--older-than", "0.5s", "--watch", "0.5s", "--json", "--db", database_url_for_test)
        done = programs.run(otel_runs_command("reap", *options))
        assert done.returncode == 0, done.stderr
        return {verdict: len(found) for verdict, found in json.loads(done.stdout).items()}

    return run


def heard(of: int) -> dict[str, int]:
    return {"lost": 0, "spared": 0, "heard": of}


def test_killed_pipeline_is_lost_with_the_step_it_was_in(
    pipeline: subprocess.Popen[str], database_url_for_test: str, reap: Callable[[], dict[str, int]]
) -> None:
    pipeline.kill()
    pipeline.wait(30)
    wait_until(lambda: reap() == {"lost": 1, "spared": 0, "heard": 0}, what="the loss")
    assert runs(database_url_for_test) == [("nightly", "failed", "lost", "reaper")]
    assert steps(database_url_for_test) == [("extract", "success", "completed"), ("load", "failed", "lost")]
    assert asked(database_url_for_test, "SELECT steps FROM v_runs") == [(2,)]
    assert reap() == heard(0)


def test_stopped_pipeline_is_spared_and_ends_as_it_says(
    pipeline: subprocess.Popen[str], database_url_for_test: str, reap: Callable[[], dict[str, int]]
) -> None:
    stop(pipeline, database_url_for_test)
    wait_until(lambda: reap() == {"lost": 0, "spared": 1, "heard": 0}, what="the heartbeat to grow old")
    assert runs(database_url_for_test) == [("nightly", "running", None, None)]
    pipeline.send_signal(signal.SIGCONT)
    pipeline.communicate("\n", timeout=60)
    assert pipeline.returncode == 0
    assert runs(database_url_for_test) == [("nightly", "completed", "completed", "span")]


def test_stopped_pipeline_that_was_taken_for_dead_comes_back(
    pipeline: subprocess.Popen[str], database_url_for_test: str, reap: Callable[[], dict[str, int]]
) -> None:
    """As a process of another machine, of which nobody can see that it lives."""
    stop(pipeline, database_url_for_test)
    with open_database(database_url_for_test) as database, database.write() as connection:
        connection.exec_driver_sql(f"UPDATE runs SET process = '{ELSEWHERE}'")
    wait_until(lambda: reap() == {"lost": 1, "spared": 0, "heard": 0}, what="the loss")
    assert steps(database_url_for_test)[1] == ("load", "failed", "lost")
    pipeline.send_signal(signal.SIGCONT)
    wait_until(lambda: runs(database_url_for_test) == [("nightly", "running", None, None)], what="the next heartbeat")
    assert steps(database_url_for_test)[1] == ("load", "running", None)
    pipeline.communicate("\n", timeout=60)
    assert runs(database_url_for_test) == [("nightly", "completed", "completed", "span")]
    assert steps(database_url_for_test)[1] == ("load", "success", "completed")
