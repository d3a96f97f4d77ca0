"""Real servers for the tests: in a thread of the test's process, where most things can be seen, or a process."""

from __future__ import annotations

import asyncio
import http.client
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from otel_runs.receiver.meters import Counts
from otel_runs.server.address import Address
from otel_runs.server.options import Options, options_from_settings
from otel_runs.server.run_page import ShowRun
from otel_runs.server.run_server import Ports, RunServer
from tests.programs import Programs, otel_runs_command

SECONDS = 30
"""That one answer may take."""
TRACES = "opentelemetry.proto.collector.trace.v1.TraceService"
LOGS = "opentelemetry.proto.collector.logs.v1.LogsService"
METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
FREE = Address("127.0.0.1", 0)


class HttpAnswer(NamedTuple):
    """What came back over HTTP."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def status(self) -> Status:
        """Its body, of a failure that is answered in protobuf."""
        return Status.FromString(self.body)


class Client:
    """Talks to one server, in the plainest way."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports

    def request(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
    ) -> HttpAnswer:
        """Send any HTTP request; ``content_encoding="gzip"`` is the header Content-Encoding."""
        connection = http.client.HTTPConnection(*self.ports.otlp_http, timeout=SECONDS)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return HttpAnswer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(
        self, body: bytes | Message, content_type: str = PROTOBUF, path: str = "/v1/traces", **headers: str
    ) -> HttpAnswer:
        """Send an export request over HTTP."""
        content = body if isinstance(body, bytes) else body.SerializeToString()
        return self.request("POST", path, content, content_type=content_type, **headers)

    def export(
        self, body: bytes | Message, service: str = TRACES, metadata: Mapping[str, str] | None = None, **options: Any
    ) -> bytes:
        """Send an export request over gRPC.

        Raises:
            grpc.RpcError: the server answers with an error.
        """
        content = body if isinstance(body, bytes) else body.SerializeToString()
        with grpc.insecure_channel(str(self.ports.otlp_grpc), [("grpc.max_send_message_length", -1)]) as channel:
            call = channel.unary_unary(f"/{service}/Export")
            answer: bytes = call(content, metadata=tuple((metadata or {}).items()), timeout=SECONDS, **options)
            return answer

    def health(self, service: str = "") -> int:
        """Ask gRPC's health service; a number of HealthCheckResponse.ServingStatus.

        Raises:
            grpc.RpcError: the server answers with an error.
        """
        with grpc.insecure_channel(str(self.ports.otlp_grpc)) as channel:
            stub: Any = HealthStub(channel)  # its methods are made at run time, where no type checker sees them
            return int(stub.Check(HealthCheckRequest(service=service), timeout=SECONDS).status)


class Failure(NamedTuple):
    """An error of gRPC."""

    code: grpc.StatusCode
    message: str
    status: Status | None
    """What ``grpc-status-details-bin`` holds."""


def failure_of(error: grpc.RpcError) -> Failure:
    """What an error of gRPC says."""
    call: Any = error
    details = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin")
    return Failure(call.code(), call.details(), Status.FromString(details) if details else None)


def options(database: str, **changes: Any) -> Options:
    """Options of a server on free ports, with what is set by default."""
    usual = options_from_settings(otlp_grpc=FREE, otlp_http=FREE, database=database, environ={})
    return usual._replace(**{"log_seconds": 0.0, **changes})


class ThreadedServer(Client):
    """A server in a thread of this process."""

    def __init__(self, chosen: Options, show_run: ShowRun | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self.server = RunServer(chosen, show_run)
            super().__init__(self.do(self.server.start))
        except BaseException:
            self._end()
            raise

    @property
    def counts(self) -> Counts:
        """What came in, and what became of it."""
        return self.server.counts

    def do(self, action: Callable[[], Any]) -> Any:
        """Run something in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(action(), self._loop).result(SECONDS)

    def stop(self) -> bool:
        """Stop it; whether everything was written."""
        if self._loop.is_closed():
            return True
        try:
            return bool(self.do(self.server.stop))
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()


@contextmanager
def serving(database: str, *, show_run: ShowRun | None = None, **changes: Any) -> Iterator[ThreadedServer]:
    """A server in a thread, stopped at the end."""
    server = ThreadedServer(options(database, **changes), show_run)
    try:
        yield server
    finally:
        server.stop()


READY = re.compile(r"otel-runs serve: ready otlp-grpc=(\S+):(\d+) otlp-http=(\S+):(\d+) db=(.*)\n")


class ServerProcess(Client):
    """``otel-runs serve`` as a process of its own, on free ports; a context manager that ends it."""

    def __init__(self, programs: Programs, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        command = otel_runs_command("serve", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", *arguments)
        self.log = programs.folder / f"serve-{len(list(programs.folder.glob('serve-*.log')))}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=programs.folder, env=programs.environ(environ), stdout=subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        found = READY.fullmatch(line)
        if found is None:
            self.end()
            raise AssertionError(line + self.log.read_text())
        super().__init__(Ports(Address(found[1], int(found[2])), Address(found[3], int(found[4]))))
        self.place = found[5]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> int:
        """Kill it unless it has ended; its exit code."""
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code
