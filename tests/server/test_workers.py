"""``--workers``: several processes that write leave the rows of one, and none of them has to survive."""

from __future__ import annotations

import multiprocessing.synchronize
import os
import re
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from otel_runs.errors import StoreUnavailableError
from otel_runs.receiver.request import Request
from otel_runs.server.turns import Turns
from otel_runs.server.workers import Workers
from otel_runs.store.engine import open_database
from tests.conftest import NewPostgresUrl
from tests.named_tests import ROOT
from tests.programs import Programs
from tests.server.requests import new_request
from tests.server.running import SECONDS, ServerProcess, options
from tests.server.stream import Stream, missing_in
from tests.waiting import wait_until

TRACES = 120
"""Of 100 spans each."""


def children_of(pid: int) -> set[int]:
    """The workers whose parent it is: forks of it, or processes from scratch; a tracker of theirs is none."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == pid and fields[0] != "Z" and b"resource_tracker" not in command:
            found.add(int(folder.name))
    return found


def await_workers(server: ServerProcess) -> None:
    wait_until(lambda: len(children_of(server.process.pid)) == 2, what="two workers")


pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="the tests find processes in /proc")


def test_rows_are_those_of_one_process(programs: Programs, database_url_for_test: str) -> None:
    with ServerProcess(programs, "--db", database_url_for_test, "--workers", "2") as server:
        with Stream(lambda: server, TRACES) as stream:
            stream.finish()
        await_workers(server)
        assert missing_in(database_url_for_test, set(range(TRACES))) == []
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0


def test_worker_that_is_killed_is_replaced_and_costs_nothing_acknowledged(
    programs: Programs, database_url_for_test: str
) -> None:
    with ServerProcess(programs, "--db", database_url_for_test, "--workers", "2") as server:
        with Stream(lambda: server, TRACES) as stream:
            for acknowledged in (TRACES // 4, TRACES // 2):
                stream.await_acknowledged(acknowledged)
                os.kill(min(children_of(server.process.pid)), signal.SIGKILL)
            stream.finish()
            assert missing_in(database_url_for_test, stream.acknowledged) == []
        assert len(stream.acknowledged) == TRACES
    assert "A worker process ended unexpectedly" in server.log.read_text()


def shared_bytes(pid: int) -> int:
    """What a process has in memory that is not of a file, and that another one has, too."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"Shared_Dirty:\s+(\d+) kB", rollup)[0]) * 1024


def test_workers_share_what_is_loaded_with_the_server(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db", "--workers", "2") as server:
        await_workers(server)
        assert server.post(new_request()).code == 200
        assert min(map(shared_bytes, children_of(server.process.pid))) > 10_000_000


def test_workers_share_the_databases_driver(programs: Programs, new_postgres_url: NewPostgresUrl) -> None:
    with ServerProcess(programs, "--db", new_postgres_url(), "--workers", "2") as server:
        await_workers(server)
        # They open the database for their first request: what they have before comes from the server.
        for worker in children_of(server.process.pid):
            assert "psycopg" in Path(f"/proc/{worker}/maps").read_text()


def test_workers_of_a_process_with_threads_share_no_memory_with_it(tmp_path: Path) -> None:
    """Forked, they might wait for a lock whose holder did not come along."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(os.getpid).result()
        workers = Workers(options(str(tmp_path / "runs.db"), workers=2))
        try:
            workers.await_ready()
            started = {process.pid for process in multiprocessing.active_children()}
            assert max(shared_bytes(pid) for pid in started if pid is not None) < 1_000_000
            assert len(started) == 2
        finally:
            workers.close()


def test_workers_of_a_killed_server_end(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db", "--workers", "2") as server:
        await_workers(server)
        workers = children_of(server.process.pid)
        assert server.post(new_request()).code == 200
        server.process.kill()
        server.process.wait(SECONDS)
        wait_until(lambda: not any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers), what="their end")


def test_signal_to_all_processes_stops_the_server_alone(programs: Programs) -> None:
    """As a terminal's Ctrl-C and systemd do: the workers go on until the server ends them."""
    with ServerProcess(programs, "--db", "runs.db", "--workers", "2") as server:
        await_workers(server)
        assert server.post(new_request()).code == 200
        for number in (signal.SIGINT, signal.SIGTERM):
            for worker in children_of(server.process.pid):
                os.kill(worker, number)
        assert server.post(new_request()).code == 200
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(SECONDS) == 0
    assert "unexpectedly" not in server.log.read_text()


def test_errors_of_a_worker_reach_the_client(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db", "--workers", "2") as server:
        assert server.post(b"\xff\xff").code == 400
        assert server.post(new_request()).code == 200
        with closing(sqlite3.connect(programs.database, isolation_level=None)) as connection:
            connection.execute("DROP TABLE model_runs")
        answer = server.post(new_request())
        assert (answer.code, answer.headers["retry-after"]) == (503, "5")


LOSES = """
    from otel_runs.ingest import Ingest
    from otel_runs.ingest.race import RaceError
    from otel_runs.receiver.request import Request
    from otel_runs.server.workers import Workers
    from otel_runs.store.engine import open_database
    from tests.server.requests import new_request
    from tests.server.running import options

    def lose(*_):
        raise RaceError

    open_database("runs.db").close()
    Ingest._settle = lose
    workers = Workers(options("runs.db", workers=2))  # forked, with the above
    try:
        for _ in range(2):
            [result] = workers.store([Request("traces", "protobuf", new_request().SerializeToString())])
            print(type(result).__name__, result)
    finally:
        workers.close()
"""


def test_worker_whose_part_of_a_batch_loses_every_race_tells_it_and_lives(programs: Programs) -> None:
    done = programs.python(LOSES, environ={"PYTHONPATH": str(ROOT)})
    said = "UnfinishedError another writer was faster at a part of this batch, at every try; try again\n"
    assert (done.returncode, done.stdout) == (0, said * 2), done.stderr
    assert "unexpectedly" not in done.stderr


def test_worker_that_waits_for_the_database_does_not_hold_up_the_end(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    open_database(file).close()
    workers = Workers(options(str(file), workers=2))
    workers.await_ready()
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor() as threads:
        other.execute("BEGIN IMMEDIATE")
        stored = threads.submit(workers.store, [Request("traces", "protobuf", new_request().SerializeToString())])
        with pytest.raises(TimeoutError):
            stored.result(2)
        workers.close()
        with pytest.raises(StoreUnavailableError):
            stored.result(SECONDS)
    assert multiprocessing.active_children() == []


def _hold_and_die(path: str, is_held: multiprocessing.synchronize.Event) -> None:
    with Turns(path):
        is_held.set()
        os.kill(os.getpid(), signal.SIGKILL)


def test_turn_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "turns"
    path.touch()
    context = multiprocessing.get_context("spawn")
    is_held = context.Event()
    holder = context.Process(target=_hold_and_die, args=(str(path), is_held))
    holder.start()
    assert is_held.wait(SECONDS)
    with Turns(str(path)):
        holder.join(SECONDS)
        assert holder.exitcode == -signal.SIGKILL
