"""Three times the load that the server can take: it stays up and small, serves what it can, and loses nothing.

OTEL_RUNS_TEST_LOAD sets for how many seconds; the suite takes a few, the full proof is a minute.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc
import pytest

from tests.databases import one_of_each_kind
from tests.programs import Programs
from tests.sampled import sampled
from tests.server.running import PROTOBUF, SECONDS, TRACES, ServerProcess
from tests.server.stream import missing_in, request_of, trace_id_of

LOAD_SECONDS = float(os.environ.get("OTEL_RUNS_TEST_LOAD", "6"))
TRACES_A_REQUEST = 5
"""Of 100 spans each; together some 200 kB, so that a hundred and sixty requests fill the queue."""
CLIENTS = 256
"""That wait for an answer at once, at most."""
MOST_BYTES = 150 * 1024 * 1024


class Load:
    """Clients that send requests, each once, and note what became of it.

    Args:
        server: that they send to; half over gRPC, half over HTTP.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.traces: set[int] = set()
        """That were acknowledged."""
        self.acknowledged = 0
        self.put_off = 0
        self.others: list[object] = []
        """Answers that should not be, and errors."""
        self._server = server
        self._template = b"".join(request_of(number, "x" * 300) for number in range(TRACES_A_REQUEST))
        self._channels = [
            grpc.insecure_channel(str(server.ports.otlp_grpc), [("grpc.use_local_subchannel_pool", 1)])
            for _ in range(4)
        ]
        self._lock = threading.Lock()
        self._sent = 0

    def send(self) -> None:
        """Send the next request, and wait for its answer."""
        with self._lock:
            self._sent += 1
            number = self._sent
        traces = range(number * TRACES_A_REQUEST, (number + 1) * TRACES_A_REQUEST)
        body = self._template
        for place, trace in enumerate(traces):
            body = body.replace(trace_id_of(place), trace_id_of(trace))
        code = self._over_grpc(number, body) if number % 2 else self._over_http(body)
        with self._lock:
            if code in {200, grpc.StatusCode.OK}:
                self.acknowledged += 1
                self.traces.update(traces)
            elif code in {503, grpc.StatusCode.RESOURCE_EXHAUSTED}:
                self.put_off += 1
            else:
                self.others.append(code)

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()

    def _over_http(self, body: bytes) -> object:
        try:
            return self._server.post(body, PROTOBUF).code
        except (OSError, http.client.HTTPException) as exc:
            return repr(exc)

    def _over_grpc(self, number: int, body: bytes) -> object:
        channel = self._channels[number % len(self._channels)]
        call = channel.unary_unary(f"/{TRACES}/Export").future(body, timeout=SECONDS)
        call.exception()
        return call.code()


def resident_bytes(process: int) -> int:
    """What a process takes in memory."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rate_of(load: Load, seconds: float) -> float:
    """Requests a second that the server takes from a few clients, each of which waits for its answers."""
    end = time.monotonic() + seconds

    def send(_: int) -> None:
        while time.monotonic() < end:
            load.send()

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(send, range(8)))
    return load.acknowledged / seconds


def offer(load: Load, rate: float, seconds: float) -> None:
    """Send so many requests a second, whatever becomes of them."""
    start = time.monotonic()
    places = threading.Semaphore(CLIENTS)

    def send() -> None:
        try:
            load.send()
        finally:
            places.release()

    with ThreadPoolExecutor(CLIENTS) as clients:
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            assert places.acquire(timeout=SECONDS)
            clients.submit(send)


@one_of_each_kind
@pytest.mark.timeout(120 + 4 * LOAD_SECONDS)
def test_three_times_the_load_neither_grows_the_server_nor_loses_what_it_acknowledged(
    programs: Programs, database_url_for_test: str
) -> None:
    with ServerProcess(programs, "--db", database_url_for_test) as server:
        load = Load(server)
        rate = rate_of(load, LOAD_SECONDS / 2)
        before = load.acknowledged
        with sampled(partial(resident_bytes, server.process.pid)) as sizes:
            offer(load, 3 * rate, LOAD_SECONDS)
        load.close()
        assert server.process.poll() is None
        assert load.others == []
        assert load.put_off > 0, "that was no overload"
        # Half of it would do for the proof; that much less, because other tests may take the machine meanwhile.
        assert load.acknowledged - before > rate * LOAD_SECONDS / 4
        assert max(sizes) < MOST_BYTES
        half = len(sizes) // 2
        assert max(sizes[half:]) < 1.2 * max(sizes[:half]), "it grows"
        assert server.request("GET", "/readyz").code == 200
        print(f"{rate=:.0f}/s, {load.acknowledged - before=}, {load.put_off=}, {max(sizes) / 2**20=:.0f} MB")
    assert missing_in(database_url_for_test, load.traces) == []
