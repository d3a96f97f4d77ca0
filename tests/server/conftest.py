from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import ThreadedServer, serving


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def server(sqlite_url: str) -> Iterator[ThreadedServer]:
    """A server on a fresh SQLite file."""
    with serving(sqlite_url) as running:
        yield running
