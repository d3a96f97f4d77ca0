"""What is acknowledged is in the tables, once: after kill -9 of the server or of its database amid 50,000 spans."""

from __future__ import annotations

from contextlib import ExitStack

from tests.databases import one_of_each_kind
from tests.programs import Programs
from tests.server.running import ServerProcess
from tests.server.stream import Stream, missing_in
from tests.servers.postgres import PostgresServer

TRACES = 500
"""Of 100 spans each."""


@one_of_each_kind
def test_every_acknowledged_span_survives_kill_9_of_the_server(programs: Programs, database_url_for_test: str) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(ServerProcess(programs, "--db", database_url_for_test))]
        stream = stack.enter_context(Stream(lambda: servers[-1], TRACES))
        for acknowledged in (TRACES // 5, TRACES // 2):
            stream.await_acknowledged(acknowledged)
            servers[-1].process.kill()
            servers[-1].process.wait()
            assert len(stream.acknowledged) < TRACES, "it was killed amid the stream"
            assert missing_in(database_url_for_test, set(stream.acknowledged)) == []
            servers.append(stack.enter_context(ServerProcess(programs, "--db", database_url_for_test)))
        stream.finish()
        assert len(stream.acknowledged) == TRACES
        assert missing_in(database_url_for_test, stream.acknowledged) == []


def test_every_acknowledged_span_survives_the_crash_of_the_database(
    programs: Programs, own_postgres: PostgresServer
) -> None:
    with ServerProcess(programs, "--db", own_postgres.url) as server, Stream(lambda: server, TRACES) as stream:
        stream.await_acknowledged(TRACES // 5)
        own_postgres.crash()
        assert len(stream.acknowledged) < TRACES, "it was killed amid the stream"
        own_postgres.restart()
        assert missing_in(own_postgres.url, set(stream.acknowledged)) == []
        stream.finish()
        assert len(stream.acknowledged) == TRACES
        assert missing_in(own_postgres.url, stream.acknowledged) == []
