"""Connections and the files that a process may have open."""

from __future__ import annotations

import resource
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from otel_runs.receiver import over_grpc
from tests.newest import needs_new_grpc
from tests.programs import Programs
from tests.server.requests import new_request
from tests.server.running import ServerProcess, serving
from tests.waiting import wait_until

if sys.platform != "linux":
    pytest.skip("limits of other processes are set and read as Linux has them", allow_module_level=True)

BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""Of HTTP/2: the preface and a frame of empty settings."""


def test_server_allows_itself_more_open_files_than_it_was_started_with(programs: Programs) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        with ServerProcess(programs, "--db", "runs.db") as server:
            soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert soft == min(8192, hard)


def test_connections_that_cannot_be_taken_are_told_once_and_the_server_goes_on(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db") as server:
        opened = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (opened + 5, 1000))
        with ExitStack() as stack:
            for _ in range(10):
                stack.enter_context(socket.create_connection(server.ports.otlp_http, timeout=10))
            wait_until(lambda: "No further connection can be taken" in server.log.read_text(), what="a line in the log")
            time.sleep(2)  # asyncio tries again each second
            told = server.log.read_text()
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (min(1000, before[0]), 1000))
        assert server.post(new_request()).code == 200
    assert told.count("No further connection can be taken") == 1
    assert "Traceback" not in told


@needs_new_grpc
def test_connections_over_grpc_are_limited_and_closed_when_they_rest(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_grpc, "CONNECTIONS", 3)
    monkeypatch.setattr(over_grpc, "IDLE_SECONDS", 1.0)
    with serving(sqlite_url) as server, ExitStack() as stack:

        def connect() -> socket.socket:
            connection = stack.enter_context(socket.create_connection(server.ports.otlp_grpc, timeout=10))
            connection.sendall(BEGIN)
            return connection

        taken = [connect() for _ in range(3)]
        for connection in taken:
            assert connection.recv(1000)
        with suppress(ConnectionResetError):
            assert connect().recv(1000) == b"", "closed at once"
        for connection in taken:
            while connection.recv(1000):  # to the end: they rest
                pass
        assert server.export(new_request()) == b""
