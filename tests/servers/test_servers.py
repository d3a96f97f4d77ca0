"""The servers that the tests start end with the tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.servers.kept import KeptServer
from tests.servers.missing import ServerMissingError, needed
from tests.servers.postgres import PostgresServer
from tests.waiting import wait_until

_START = """
import sys, time
from pathlib import Path
from tests.servers.kept import KeptServer
KeptServer([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], folder=Path(sys.argv[1]))
print("started", flush=True)
time.sleep(60)
"""


def test_server_of_killed_tests_is_stopped_and_its_folder_removed(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    tests = subprocess.Popen([sys.executable, "-c", _START, folder], stdout=subprocess.PIPE, cwd=Path.cwd())
    assert tests.stdout is not None
    assert tests.stdout.readline() == b"started\n"
    wait_until(lambda: (folder / "server.log").exists() and (folder / "server.log").read_text() == "up\n")
    tests.send_signal(signal.SIGKILL)
    tests.wait()
    tests.stdout.close()
    wait_until(lambda: not folder.exists())


def test_stopped_server_has_ended_when_stop_returns(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    server = KeptServer([sys.executable, "-c", "import time; time.sleep(60)"], folder=folder)
    assert not server.ended()
    server.stop()
    assert server.ended()
    assert not folder.exists()


_DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def _has_printed(server: KeptServer, text: str) -> bool:
    return server.log() == text


def test_killed_server_keeps_its_folder_and_its_log_for_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    for starts in (1, 2):
        server = KeptServer([sys.executable, "-c", _DEAF], folder=folder)
        wait_until(partial(_has_printed, server, "up\n" * starts))
        server.kill()
        assert server.ended()
    assert (folder / "server.log").read_text() == "up\nup\n"


def test_killed_postgresql_has_what_it_has_committed_when_it_is_back(own_postgres: PostgresServer) -> None:
    url = own_postgres.url.replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    own_postgres.crash()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    own_postgres.restart()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_postgresql_with_fsync_is_to_be_had() -> None:
    with needed():
        server = PostgresServer(18, fsync=True)
    with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url.replace("+psycopg", ""))


def test_unknown_version_is_missing_with_its_reason() -> None:
    with pytest.raises(ServerMissingError, match="PostgreSQL 9 is not installed"):
        PostgresServer(9)
