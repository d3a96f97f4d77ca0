"""The load: a process of its own that sends encoded requests over several connections at a time.

``python -m bench.load PROTOCOL ADDRESS FILE CONNECTIONS`` prints one line of JSON, a `Sent`. All requests are in memory
and all connections open before the clock runs; while it runs this process only copies bytes, and says what that cost.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import grpc

from bench.payloads import read_payloads

Protocol = Literal["http", "grpc"]
Send = Callable[[bytes], bool]
"""Sends one request; whether it was acknowledged, or is to be sent again."""

TIMEOUT = 120
"""Seconds that one answer, and seconds that the whole load, may take."""
_PAUSE = 0.2
"""Before a refused request is sent again; shorter than the second that the server asks for, to press harder."""
_HEADERS = {"Content-Type": "application/x-protobuf"}
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_AGAIN = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}


class Sent(NamedTuple):
    """What the load saw."""

    seconds: float
    """From the first request to the last acknowledgement."""
    cpu_seconds: float
    """Of the load itself."""
    p50_ms: float
    """Latency of acknowledged requests: from the first byte sent to the answer."""
    p95_ms: float
    refused: int
    """Answers that asked to send again."""
    ends: list[float]
    """When each request was acknowledged, in seconds since the first was sent, in order."""


def run_load(protocol: Protocol, address: str, file: Path, connections: int) -> Sent:
    """Send a file of requests from another process."""
    command = [sys.executable, "-m", "bench.load", protocol, address, str(file), str(connections)]
    done = subprocess.run(
        command, capture_output=True, cwd=Path(__file__).parents[1], check=False, timeout=4 * TIMEOUT, text=True
    )
    assert done.returncode == 0, done.stderr
    return Sent(**json.loads(done.stdout))


class _Load:
    def __init__(self, protocol: Protocol, address: str, bodies: list[bytes], connections: int) -> None:
        self._protocol = protocol
        self._address = address
        self._bodies: Iterator[bytes] = iter(bodies)
        self._lock = threading.Lock()
        self._ready = threading.Barrier(connections + 1)
        self._latencies: list[float] = []
        self._ends: list[float] = []
        self._refused = 0
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(connections)]

    def run(self) -> Sent:
        for thread in self._threads:
            thread.start()
        self._ready.wait(TIMEOUT)
        start, cpu = time.perf_counter(), time.process_time()
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "the load did not end"
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        if self._failure is not None:
            raise self._failure
        ordered = sorted(self._latencies)
        p50, p95 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.95))
        return Sent(seconds, cpu, p50, p95, self._refused, [end - start for end in sorted(self._ends)])

    def _work(self) -> None:
        try:
            send = _over_http(self._address) if self._protocol == "http" else _over_grpc(self._address)
            self._ready.wait(TIMEOUT)
            while (body := self._next()) is not None:
                self._deliver(send, body)
        except BaseException as exc:  # noqa: BLE001  told at the end
            self._failure = exc
            self._ready.abort()

    def _next(self) -> bytes | None:
        with self._lock:
            return next(self._bodies, None)

    def _deliver(self, send: Send, body: bytes) -> None:
        while True:
            start = time.perf_counter()
            if send(body):
                end = time.perf_counter()
                self._latencies.append(end - start)
                self._ends.append(end)
                return
            with self._lock:
                self._refused += 1
            time.sleep(_PAUSE)


def _over_http(address: str) -> Send:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    connection.connect()

    def send(body: bytes) -> bool:
        connection.request("POST", "/v1/traces", body, _HEADERS)
        answer = connection.getresponse()
        answer.read()
        assert answer.status in {200, 503}, answer.status
        return answer.status == http.HTTPStatus.OK

    return send


def _over_grpc(address: str) -> Send:
    # Without its own pool of connections, all channels of a process share one.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    channel = grpc.insecure_channel(address, options)
    grpc.channel_ready_future(channel).result(TIMEOUT)
    call = channel.unary_unary(_EXPORT)  # without serializers, bytes go out as they are

    def send(body: bytes) -> bool:
        try:
            call(body, timeout=TIMEOUT)
        except grpc.RpcError as exc:
            if exc.code() not in _AGAIN:
                raise
            return False
        return True

    return send


def main(protocol: Protocol, address: str, file: str, connections: str) -> None:
    """Send, and print what was seen."""
    bodies = list(read_payloads(Path(file)))
    print(json.dumps(_Load(protocol, address, bodies, int(connections)).run()._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]  # one of the two protocols
