from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_runs.store.engine import open_database


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent_database(silent_server: int) -> str:
    """The URL of a database there."""
    return f"postgresql://nobody@127.0.0.1:{silent_server}/none?connect_timeout=60"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def locked(file: Path) -> Iterator[Callable[[], None]]:
    """The SQLite database, locked by somebody else until this is called."""
    open_database(file).close()
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other.close
    other.close()


@pytest.fixture
def _in_a_project_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool of a database on a server is in the project's folder."""
    (tmp_path / ".otel_runs").mkdir()
    monkeypatch.chdir(tmp_path)
