from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import ThreadedServer, serving
from tests.servers.certificates import Certificate, new_certificate
from tests.servers.missing import needed


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def server(sqlite_url: str) -> Iterator[ThreadedServer]:
    """A server on a fresh SQLite file."""
    with serving(sqlite_url) as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """Of a server on this machine."""
    with needed():
        return new_certificate(tmp_path)
