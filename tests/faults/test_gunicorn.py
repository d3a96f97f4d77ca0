"""gunicorn's workers fork from its master, and end when they have answered so many requests."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from tests.databases import one_of_each_kind
from tests.faults.history import names
from tests.newest import only_newest
from tests.programs import Programs
from tests.servers.kept import KeptServer
from tests.servers.ports import free_port
from tests.servers.service import is_ok
from tests.waiting import wait_until

pytestmark = only_newest

REQUESTS: Final = 4
APP: Final = """
import os
import otel_runs
otel_runs.configure()
def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    if name:
        with otel_runs.run(name), otel_runs.step(f"step of {name}"):
            pass
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def folder_of_server() -> Path:
    """Not below pytest's: the server is stopped with all that is in it."""
    return Path(tempfile.mkdtemp(prefix="gunicorn-"))


@one_of_each_kind
def test_pipelines_of_gunicorn_are_stored_though_each_worker_ends_after_one_request(
    programs: Programs, folder_of_server: Path, database_url_for_test: str
) -> None:
    answer_requests(programs, folder_of_server, database_url_for_test, "--preload")


def test_pipelines_of_gunicorn_are_stored_where_each_worker_loads_them(
    programs: Programs, folder_of_server: Path
) -> None:
    answer_requests(programs, folder_of_server, f"sqlite:///{programs.database}")


def answer_requests(programs: Programs, folder_of_server: Path, url: str, *loading: str) -> None:
    """Start the server, let it answer, each time by another worker, and look what is stored."""
    programs.write(APP, "web.py")
    address = f"127.0.0.1:{free_port()}"
    options = [f"--bind={address}", f"--chdir={programs.folder}", "--workers=2", "--max-requests=1", *loading]
    server = KeptServer(
        [sys.executable, "-m", "gunicorn", *options, "web"],
        folder=folder_of_server,
        environ=programs.environ({"OTEL_RUNS_DB": url}),
    )
    try:
        wait_until(lambda: is_ok(f"http://{address}/"), what="the start of gunicorn")
        workers = {answer_of(f"http://{address}/request-{number}") for number in range(REQUESTS)}
        assert len(workers) == REQUESTS
        # The answer is there before its worker has ended; the stop of the server would cut that end short.
        expected = {f"{what}request-{number}": 1 for what in ("", "step of ") for number in range(REQUESTS)}
        wait_until(lambda: names(url) == expected, what="rows of every request")
    finally:
        server.stop()


def answer_of(url: str) -> bytes:
    """What a page says."""
    with urlopen(url, timeout=30) as response:
        body: bytes = response.read()
    return body
