"""``otel-runs tail --follow`` and ``otel-runs watch`` beside a history that changes and goes away, as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_runs.store.engine import Database, open_database
from tests.cli.test_process import OTEL_RUNS
from tests.programs import Programs
from tests.query.rows import Rows
from tests.servers.missing import needed
from tests.servers.postgres import PostgresServer

SECONDS = 60


class Following:
    """A command that stays, and what it prints as JSON."""

    def __init__(self, url: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*OTEL_RUNS, "--db", url, *arguments, "--json", "--interval", "0.1", "--timeout", str(SECONDS)],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def hint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def interrupted(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err


@contextmanager
def following(url: str, *arguments: str) -> Iterator[Following]:
    started = Following(url, *arguments)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def url_of(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def update(database: Database, assignments: str, run: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE runs SET {assignments} WHERE id = '{run}'")


def test_run_is_printed_when_it_starts_when_its_state_changes_and_when_it_ends(database: Database) -> None:
    rows = Rows(database)
    rows.run(1, name="before")
    with following(url_of(database), "tail", "-f") as tail:
        printed = [tail.next()]
        run = rows.run(2, name="nightly", seconds=None)
        printed.append(tail.next())
        update(database, "status = 'failed', stop_reason = 'lost', status_source = 'reaper'", run)
        printed.append(tail.next())
        update(database, "status = 'completed', stop_reason = 'completed', status_source = 'span'", run)
        printed.append(tail.next())
        ended = tail.interrupted()
    assert [(each["name"], each["status"], each["stop_reason"]) for each in printed] == [
        ("before", "completed", None),
        ("nightly", "running", None),
        ("nightly", "failed", "lost"),
        ("nightly", "completed", "completed"),
    ]
    assert ended == (0, "", "")


def test_end_of_a_run_that_started_long_before_the_newest_is_printed(rows: Rows) -> None:
    run = rows.run(1, name="slow", seconds=None)
    with rows.database.write() as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 700) "
            "INSERT INTO runs (id, trace_id, name, environment, status, started_at) "
            "SELECT printf('%08d-0000-4000-8000-000000000000', i), i, 'quick', 'default', 'completed', "
            "'2026-02-01 00:00:00.000000' FROM n"
        )
    with following(url_of(rows.database), "tail", "-f", "-n", "1") as tail:
        assert tail.next()["name"] == "quick"
        update(rows.database, "status = 'completed'", run)
        assert (tail.next()["name"], tail.interrupted()) == ("slow", (0, "", ""))


def test_history_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.db"
    with following(str(path), "tail", "-f") as tail:
        assert "No runs yet" in tail.hint()
        with open_database(path) as database:
            Rows(database).run(1, name="first")
        assert (tail.next()["name"], tail.interrupted()) == ("first", (0, "", ""))


def test_file_that_goes_away_and_comes_back_is_told_of_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        run = Rows(database).run(1, name="first", seconds=None)
    with following(str(path), "tail", "-f") as tail:
        tail.next()
        path.rename(tmp_path / "elsewhere.db")
        assert "Looking again until it is back" in tail.hint()
        (tmp_path / "elsewhere.db").rename(path)
        assert tail.hint() == "The run database is back.\n"
        with open_database(path) as database:
            update(database, "status = 'completed'", run)
        assert (tail.next()["status"], tail.interrupted()) == ("completed", (0, "", ""))


def test_server_that_goes_away_and_comes_back_is_told_of_once() -> None:
    with needed():
        server = PostgresServer(16)
    try:
        with open_database(server.url) as database:
            run = Rows(database).run(1, seconds=None)
        with following(server.url, "tail", "-f") as tail, following(server.url, "watch") as watch:
            tail.next()
            watch.next()
            server.crash()
            assert "Looking again until it is back" in tail.hint()
            assert "Looking again until it is back" in watch.hint()
            server.restart()
            assert (tail.hint(), watch.hint()) == ("The run database is back.\n",) * 2
            with open_database(server.url) as database:
                update(database, "status = 'completed'", run)
            assert tail.next()["status"] == watch.next()["run"]["status"] == "completed"
            assert (watch.process.wait(SECONDS), tail.interrupted()) == (0, (0, "", ""))
    finally:
        server.stop()


def test_watch_prints_each_step_that_starts_and_ends_and_ends_with_the_run(database: Database) -> None:
    rows = Rows(database)
    earlier = rows.run(1, seconds=20.0)
    for number in range(10, 14):
        rows.model_run(earlier, number, "load", seconds=4.0)
    with following(url_of(database), "watch") as watch:
        assert "No run is running; waiting for one to start" in watch.hint()
        run = rows.run(2, seconds=None)
        looks = [watch.next()]
        step = rows.model_run(run, 20, "load", seconds=None)
        looks.append(watch.next())
        with database.write() as connection:
            connection.exec_driver_sql(f"UPDATE model_runs SET status = 'success' WHERE id = '{step}'")
        looks.append(watch.next())
        update(database, "status = 'failed', error = 'Boom'", run)
        looks.append(watch.next())
        code, err = watch.process.wait(SECONDS), watch.process.communicate()[1]
    assert [
        (look["run"]["status"], look["steps_ended"], look["steps_known"], [step["name"] for step in look["running"]])
        for look in looks
    ] == [("running", 0, 4, []), ("running", 0, 4, ["load"]), ("running", 1, 4, []), ("failed", 1, 4, [])]
    assert {(look["expected_seconds"], look["expected_from_runs"]) for look in looks} == {(20.0, 1)}
    assert looks[1]["running"][0]["expected_seconds"] == 4.0
    assert (code, err) == (3, "")


def test_ctrl_c_ends_watch_with_130_so_that_what_waits_for_the_run_does_not_go_on(rows: Rows) -> None:
    rows.run(1, seconds=None)
    with following(url_of(rows.database), "watch") as watch:
        watch.next()
        assert watch.interrupted() == (130, "", "")


def test_watched_run_that_is_deleted_is_an_error(rows: Rows) -> None:
    run = rows.run(1, seconds=None)
    with following(url_of(rows.database), "watch", run) as watch:
        watch.next()
        with rows.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM runs")
        assert (watch.process.wait(SECONDS), "deleted while it was watched" in watch.hint()) == (1, True)


def test_real_pipeline_is_watched_from_its_start_to_its_end(database_url_for_test: str, tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    program = programs.write(
        """
        import sys
        from otel_runs import configure, run, step

        @step
        def load(): return input()

        @run
        def nightly():
            for _ in range(2): load()

        configure(sys.argv[1])
        nightly()
        """
    )
    pipeline = programs.start([sys.executable, str(program), database_url_for_test])
    assert pipeline.stdin is not None
    try:
        with following(database_url_for_test, "watch") as watch, following(database_url_for_test, "tail", "-f") as tail:
            printed, look = [tail.next()], watch.next()
            while not look["running"]:
                look = watch.next()
            assert (look["run"]["name"], look["run"]["status"], look["steps_ended"]) == ("nightly", "running", 0)
            assert [step["name"] for step in look["running"]] == ["load"]
            assert look["silent_seconds"] < SECONDS
            pipeline.stdin.write("four\n")
            pipeline.stdin.flush()
            while look["steps_ended"] < 1:
                look = watch.next()
            pipeline.stdin.write("four\n")
            pipeline.stdin.flush()
            while look["run"]["status"] == "running":
                look = watch.next()
            assert (look["run"]["status"], look["steps_ended"], look["run"]["steps"]) == ("completed", 2, 2)
            assert watch.process.wait(SECONDS) == 0
            while printed[-1]["status"] == "running":
                printed.append(tail.next())
            assert {each["name"] for each in printed} == {"nightly"}
            assert [printed[0]["status"], printed[-1]["status"]] == ["running", "completed"]
            assert tail.interrupted()[0] == 0
    finally:
        pipeline.kill()
        pipeline.communicate()
