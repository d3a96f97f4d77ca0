"""A server that cannot start."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import socket
from pathlib import Path

import grpc
import pytest

from otel_runs.errors import OtelRunsError
from otel_runs.server.address import Address
from otel_runs.server.options import options_from_settings
from otel_runs.server.run_server import RunServer
from tests.server.running import FREE, options


async def error_of(server: RunServer) -> OtelRunsError:
    with pytest.raises(OtelRunsError) as caught:
        await server.start()
    return caught.value


def grpc_servers() -> list[grpc.aio.Server]:
    return [each for each in gc.get_objects() if isinstance(each, grpc.aio.Server)]


@pytest.mark.parametrize(
    ("what", "said"),
    [("the port", "cannot listen"), ("the database", "not a database"), ("a worker", "ended before it could work")],
)
def test_error_of_a_server_that_cannot_start_holds_nothing_of_grpc(tmp_path: Path, what: str, said: str) -> None:
    """gRPC would wait for ever where it is let go when Python has begun to end, as an error is that nobody caught."""
    of_other_tests, others = grpc_servers(), set(multiprocessing.active_children())
    file = tmp_path / "runs.db"
    file.write_text("no database" * 100 if what == "the database" else "")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        grpc_address = Address("127.0.0.1", taken.getsockname()[1]) if what == "the port" else FREE
        workers = 2 if what == "a worker" else 1
        server = RunServer(
            options_from_settings(otlp_grpc=grpc_address, otlp_http=FREE, database=str(file), workers=workers)
        )
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        error = asyncio.run(error_of(server))
    assert said in str(error)
    assert error.__traceback__ is not None
    assert not [each for each in grpc_servers() if all(each is not other for other in of_other_tests)]


@pytest.mark.parametrize("port", ["otlp_grpc", "otlp_http"])
def test_server_that_cannot_start_ends_its_workers(tmp_path: Path, port: str) -> None:
    others = set(multiprocessing.active_children())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        server = RunServer(options(str(tmp_path / "runs.db"), workers=2, **{port: address}))
        workers = set(multiprocessing.active_children()) - others
        asyncio.run(error_of(server))
    assert len(workers) == 2
    assert not [each for each in workers if each.is_alive()]
