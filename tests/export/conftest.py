from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_runs.counters import counters
from tests.programs import Programs


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture
def _counters_at_zero() -> Iterator[None]:
    counters.reset()
    yield
    counters.reset()


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent_database(silent_server: int) -> str:
    """The URL of a database there."""
    return f"postgresql://nobody@127.0.0.1:{silent_server}/none?connect_timeout=60"
