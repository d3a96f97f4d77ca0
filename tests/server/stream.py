"""A stream of spans from several clients at once, who note what was acknowledged."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from typing import Final, Self

import grpc

from otel_runs.store.engine import open_database
from tests.server.running import PROTOBUF, SECONDS, TRACES, Client
from tests.spans.otlp import START, otlp_span, pairs, traces

SPANS: Final = 100
"""Of a trace, and of a request."""


def trace_id_of(number: int) -> bytes:
    """The id of a trace of the stream."""
    return (number + 1).to_bytes(8, "big") + b"\xee" * 8


def request_of(number: int, note: str = "") -> bytes:
    """A request: one trace with a root and its steps; each step has the note as an attribute."""
    root = (1).to_bytes(8, "big")
    spans = [
        otlp_span(
            trace_id=trace_id_of(number),
            span_id=(place + 2).to_bytes(8, "big"),
            parent_span_id=root,
            name=f"step {place}",
            start_time_unix_nano=START + place,
            attributes=pairs({"note": note} if note else {}),
        )
        for place in range(SPANS - 1)
    ]
    spans.append(otlp_span(trace_id=trace_id_of(number), span_id=root, name="run"))
    body: bytes = traces(*spans).SerializeToString()
    return body


class Stream:
    """Clients that send so many traces between them, each trace again until it is acknowledged or the stream ends.

    Args:
        client: knows the ports; ask it anew for each request, so that a server that comes again is found.
        number: of traces.
        clients: half of them speak gRPC, half HTTP.
    """

    def __init__(self, client: Callable[[], Client], number: int, clients: int = 6) -> None:
        self.acknowledged: set[int] = set()
        self._client = client
        self._left = iter(range(number))
        self._lock = threading.Lock()
        self._over = threading.Event()
        speak = (self._over_grpc, self._over_http)
        self._threads = [
            threading.Thread(target=self._send, args=(speak[at % 2],), daemon=True) for at in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def await_acknowledged(self, number: int) -> None:
        """Wait until so many traces are acknowledged."""
        deadline = time.monotonic() + 2 * SECONDS
        while len(self.acknowledged) < number:
            assert time.monotonic() < deadline, f"only {len(self.acknowledged)} of {number} traces are acknowledged"
            time.sleep(0.005)

    def finish(self) -> None:
        """Wait until everything is sent and acknowledged."""
        for thread in self._threads:
            thread.join(3 * SECONDS)
            assert not thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _send(self, send: Callable[[bytes], bool]) -> None:
        while (number := self._next()) is not None:
            body = request_of(number)
            while not self._over.is_set():
                if send(body):
                    self.acknowledged.add(number)
                    break
                self._over.wait(0.05)

    def _next(self) -> int | None:
        with self._lock:
            return None if self._over.is_set() else next(self._left, None)

    def _over_http(self, body: bytes) -> bool:
        try:
            answer = self._client().post(body, PROTOBUF)
        except (OSError, http.client.HTTPException):
            return False
        assert answer.code in {200, 503}, answer
        return answer.code == 200

    def _over_grpc(self, body: bytes) -> bool:
        with grpc.insecure_channel(
            str(self._client().ports.otlp_grpc), [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            try:
                channel.unary_unary(f"/{TRACES}/Export")(body, timeout=SECONDS)
            except grpc.RpcError:
                return False
        return True


def missing_in(url: str, acknowledged: set[int]) -> list[str]:
    """What of the acknowledged traces is not in the tables exactly once; keys forbid rows that are there twice."""
    query = "SELECT trace_id, COUNT(*), COUNT(DISTINCT span_id) FROM model_runs GROUP BY trace_id"
    with open_database(url, create=False) as database, database.read() as connection:
        steps = {row[0]: (row[1], row[2]) for row in connection.exec_driver_sql(query)}
        runs = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT trace_id, steps FROM runs")}
    wanted = [trace_id_of(number).hex() for number in acknowledged]
    count = SPANS - 1
    return [each for each in wanted if steps.get(each) != (count, count) or runs.get(each) != count]
