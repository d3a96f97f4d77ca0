"""The servers that the tests start end with the tests."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.servers.kept import KeptServer
from tests.servers.missing import ServerMissingError
from tests.servers.postgres import PostgresServer

_START = """
import sys, time
from pathlib import Path
from tests.servers.kept import KeptServer
KeptServer([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], folder=Path(sys.argv[1]))
print("started", flush=True)
time.sleep(60)
"""


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_server_of_killed_tests_is_stopped_and_its_folder_removed(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    tests = subprocess.Popen([sys.executable, "-c", _START, folder], stdout=subprocess.PIPE, cwd=Path.cwd())
    assert tests.stdout is not None
    assert tests.stdout.readline() == b"started\n"
    _wait_until(lambda: (folder / "server.log").exists() and (folder / "server.log").read_text() == "up\n")
    tests.send_signal(signal.SIGKILL)
    tests.wait()
    tests.stdout.close()
    _wait_until(lambda: not folder.exists())


def test_stopped_server_has_ended_when_stop_returns(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    server = KeptServer([sys.executable, "-c", "import time; time.sleep(60)"], folder=folder)
    assert not server.ended()
    server.stop()
    assert server.ended()
    assert not folder.exists()


def test_postgresql_with_fsync_is_to_be_had() -> None:
    try:
        server = PostgresServer(18, fsync=True)
    except ServerMissingError as exc:
        pytest.skip(str(exc))
    with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url.replace("+psycopg", ""))


def test_unknown_version_is_missing_with_its_reason() -> None:
    with pytest.raises(ServerMissingError, match="no PostgreSQL 9"):
        PostgresServer(9)
