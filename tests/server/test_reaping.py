"""A server looks after the runs that nobody ends."""

from __future__ import annotations

import itertools
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_runs import attributes as key
from otel_runs.process import process_identity
from otel_runs.settings import LOST_AFTER
from otel_runs.store.engine import Database, open_database
from tests.databases import one_of_each_kind
from tests.ingest.contents import contents_of
from tests.ingest.traces import span_id, trace_id
from tests.programs import Programs
from tests.reaper.lives import ELSEWHERE, LOST, RUNNING, beat, dead_process, end, status
from tests.server.running import LOGS, Client, ServerProcess, serving
from tests.spans.otlp import logs, pairs
from tests.waiting import wait_until

LIMIT = 1.0


def is_(status_wanted: tuple[str, str | None], url: str, trace: int = 0) -> Callable[[], bool]:
    def ask() -> bool:
        with open_database(url, create=False) as database:
            return status(database, trace) == status_wanted

    return ask


def status_once_heard_of(hear: Callable[[], object], database: Database) -> tuple[str, str | None]:
    """The status of a run right after it was heard of: an answer that took too long on a busy machine says nothing."""
    while True:
        heard = time.monotonic()
        hear()
        found = status(database)
        if time.monotonic() - heard < LIMIT / 2:
            return found


def test_server_declares_a_silent_run_lost_says_so_and_takes_it_back(
    database_url_for_test: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_database(database_url_for_test) as database:
        beat(database, ago=3600, process=ELSEWHERE)
        beat(database, ago=3600, trace=1, process=process_identity())
        with serving(database_url_for_test, lost_after=LIMIT), caplog.at_level(logging.WARNING):
            wait_until(is_(LOST, database_url_for_test), what="the loss")
            wait_until(lambda: "is lost: not heard of in" in caplog.text, what="the line in the log")
            assert status_once_heard_of(lambda: beat(database, process=ELSEWHERE), database) == RUNNING
            end(database)
        assert status(database) == ("completed", "completed")
        assert status(database, 1) == RUNNING


def test_server_waits_for_no_watch_where_the_process_has_ended(sqlite_url: str) -> None:
    with open_database(sqlite_url) as database:
        beat(database, ago=3600, process=dead_process())
    with serving(sqlite_url, lost_after=60):
        wait_until(is_(LOST, sqlite_url), what="the loss")


def test_server_that_is_told_to_never_reaps(sqlite_url: str) -> None:
    with open_database(sqlite_url) as database:
        beat(database, ago=3600, process=dead_process())
        with serving(sqlite_url, lost_after=0.0) as server:
            assert server.server._reaping is None
        assert status(database) == RUNNING


def test_database_that_is_away_is_told_once_and_nothing_is_lost_meanwhile(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_database(sqlite_url) as database, serving(f"{sqlite_url}?timeout=0.05", lost_after=LIMIT):
        beat(database, ago=3600, process=ELSEWHERE)
        with database.write():  # nobody else can write, so nobody can be heard of
            wait_until(lambda: "Runs cannot be looked after now" in caplog.text, what="the warning")
            time.sleep(2 * LIMIT)
            assert caplog.text.count("Runs cannot be looked after now") == 1
            assert status(database) == RUNNING
        wait_until(is_(LOST, sqlite_url), what="the loss")


def heartbeat(client: Client, at: int, event: str = key.EVENT_RUN_HEARTBEAT) -> None:
    """Send a log record as a pipeline does."""
    attributes = {key.EVENT_NAME: event, key.SPAN_NAME: "nightly", key.SPAN_START: at - 10**9}
    record = LogRecord(
        trace_id=bytes.fromhex(trace_id(0)),
        span_id=bytes.fromhex(span_id(0)),
        time_unix_nano=at,
        attributes=pairs({**attributes, key.PROCESS: ELSEWHERE}),
    )
    client.export(logs(record), LOGS)


@one_of_each_kind
def test_run_that_is_heard_of_over_otlp_lives_until_it_is_not(programs: Programs, database_url_for_test: str) -> None:
    with (
        ServerProcess(programs, "--db", database_url_for_test, environ={LOST_AFTER.env: str(LIMIT)}) as server,
        open_database(database_url_for_test) as database,
    ):
        clock = itertools.count(1_760_000_000_000_000_000, 1000)  # hardly moves

        def hear() -> None:
            heartbeat(server, next(clock))

        until = time.monotonic() + 2 * LIMIT
        while time.monotonic() < until:
            assert status_once_heard_of(hear, database) == RUNNING
        wait_until(is_(LOST, database_url_for_test), what="the loss")
        assert status_once_heard_of(hear, database) == RUNNING


def test_server_that_was_stopped_and_goes_on_gives_runs_their_time_again(programs: Programs, sqlite_url: str) -> None:
    """While it was stopped, heartbeats could not reach it; its monotonic clock went on."""
    limit = 3.0
    with (
        open_database(sqlite_url) as database,
        ServerProcess(programs, "--db", sqlite_url, environ={LOST_AFTER.env: str(limit)}) as server,
    ):
        beat(database, process=ELSEWHERE)
        time.sleep(limit / 4)  # it has looked
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(limit)
        server.process.send_signal(signal.SIGCONT)
        heard = time.monotonic()
        wait_until(is_(LOST, sqlite_url), what="the loss")
        assert time.monotonic() - heard >= limit / 2  # far more than what was left of the limit


@one_of_each_kind
def test_two_servers_lose_and_revive_the_runs_of_one(programs: Programs, database_url_for_test: str) -> None:
    with open_database(database_url_for_test) as database:
        for trace in range(5):
            beat(database, ago=3600, trace=trace, process=ELSEWHERE)
        with (
            ServerProcess(programs, "--db", database_url_for_test, environ={LOST_AFTER.env: str(LIMIT)}),
            serving(database_url_for_test, lost_after=LIMIT),
        ):
            for trace in range(5):
                wait_until(is_(LOST, database_url_for_test, trace), what="the loss")
            at_rest = contents_of(database)
            time.sleep(LIMIT)
            assert contents_of(database) == at_rest
            assert status_once_heard_of(lambda: beat(database, process=ELSEWHERE), database) == RUNNING


def test_one_process_of_a_server_with_workers_reaps(programs: Programs, sqlite_url: str) -> None:
    with open_database(sqlite_url) as database:
        beat(database, process=ELSEWHERE)
        arguments = ("--db", sqlite_url, "--workers", "2")
        with ServerProcess(programs, *arguments, environ={LOST_AFTER.env: str(LIMIT)}) as server:
            wait_until(is_(LOST, sqlite_url), what="the loss")
            wait_until(lambda: "is lost: not heard of in" in server.log.read_text(), what="the line in the log")
            assert server.log.read_text().count(" is lost: ") == 1


BEATS = """
import sys, time
from otel_runs.ingest import Ingest
from otel_runs.process import process_identity
from otel_runs.store.engine import Database, open_database
from tests.reaper.lives import beat

with open_database(sys.argv[1]) as database:
    while True:
        beat(database, process=process_identity())
        print("beat", flush=True)
        time.sleep(0.2)
"""


def test_process_that_is_stopped_lives_and_one_that_is_killed_does_not(programs: Programs, sqlite_url: str) -> None:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", BEATS, sqlite_url]
    with open_database(sqlite_url) as database:
        pipeline = programs.start(command, environ={"PYTHONPATH": root})
        try:
            assert pipeline.stdout is not None
            assert pipeline.stdout.readline() == "beat\n"
            with serving(sqlite_url, lost_after=LIMIT):
                pipeline.send_signal(signal.SIGSTOP)
                time.sleep(3 * LIMIT)
                assert status(database) == RUNNING
                pipeline.kill()
                wait_until(is_(LOST, sqlite_url), what="the loss")
        finally:
            pipeline.kill()
            pipeline.communicate()
