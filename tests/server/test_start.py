"""A server that cannot start."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path

import grpc
import pytest

from otel_runs.errors import OtelRunsError
from otel_runs.server.address import Address
from otel_runs.server.options import options_from_settings
from otel_runs.server.run_server import RunServer
from tests.server.running import FREE


async def error_of(server: RunServer) -> OtelRunsError:
    with pytest.raises(OtelRunsError) as caught:
        await server.start()
    return caught.value


def grpc_servers() -> list[grpc.aio.Server]:
    return [each for each in gc.get_objects() if isinstance(each, grpc.aio.Server)]


@pytest.mark.parametrize("what", ["the port", "the database"])
def test_error_of_a_server_that_cannot_start_holds_nothing_of_grpc(tmp_path: Path, what: str) -> None:
    """gRPC would wait for ever where it is let go when Python has begun to end, as an error is that nobody caught."""
    of_other_tests = grpc_servers()
    file = tmp_path / "runs.db"
    file.write_text("no database" * 100 if what == "the database" else "")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        grpc_address = Address("127.0.0.1", taken.getsockname()[1]) if what == "the port" else FREE
        options = options_from_settings(otlp_grpc=grpc_address, otlp_http=FREE, database=str(file))
        error = asyncio.run(error_of(RunServer(options)))
    assert ("cannot listen" in str(error)) == (what == "the port")
    assert error.__traceback__ is not None
    assert not [server for server in grpc_servers() if all(server is not other for other in of_other_tests)]
