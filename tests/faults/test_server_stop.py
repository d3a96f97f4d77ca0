"""The server ends in time, whatever its database does."""

from __future__ import annotations

import signal
import socket
import sqlite3
import threading
import time
from contextlib import ExitStack

import grpc
import pytest

from tests.programs import Programs
from tests.server.requests import new_request
from tests.server.running import SECONDS, ServerProcess, failure_of

KILLED_AFTER = 30
"""Seconds after SIGTERM: by Kubernetes as a rule, and by docker-compose.yml."""


def test_stop_ends_before_it_would_be_killed_also_if_the_database_hangs(programs: Programs) -> None:
    url = f"sqlite:///{programs.database}?timeout=60"
    with ServerProcess(programs, "--db", url, "--workers", "2") as server, ExitStack() as stack:
        lock = sqlite3.connect(programs.database, isolation_level=None)
        stack.callback(lock.close)
        lock.execute("BEGIN IMMEDIATE")
        answers: list[object] = []

        def export() -> None:
            with pytest.raises(grpc.RpcError) as raised:
                server.export(new_request())
            answers.append(failure_of(raised.value).code)

        clients = [threading.Thread(target=lambda: answers.append(server.post(new_request()).code))]
        clients.append(threading.Thread(target=export))
        for client in clients:
            client.start()
        slow = stack.enter_context(socket.create_connection(server.ports.otlp_http, SECONDS))
        slow.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
        slow.sendall(b"content-length: 1000\r\n\r\n{")
        time.sleep(0.5)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(2 * SECONDS) == 1
        assert time.monotonic() - start < KILLED_AFTER - 1
        for client in clients:
            client.join(SECONDS)
    assert set(answers) == {503, grpc.StatusCode.UNAVAILABLE}
    assert "Traceback" not in server.log.read_text()
