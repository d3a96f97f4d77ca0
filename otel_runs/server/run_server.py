"""The server: two ports, one queue, one database, and their common beginning and end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Iterator
from typing import Final, NamedTuple

import grpc

from otel_runs.receiver.desk import Desk
from otel_runs.receiver.intake import Intake
from otel_runs.receiver.meters import Counts, Meters
from otel_runs.receiver.over_grpc import grpc_server
from otel_runs.receiver.over_http import http_app
from otel_runs.receiver.room import Room
from otel_runs.receiver.storing import Storing
from otel_runs.server.address import Address, cannot_listen, listening_socket
from otel_runs.server.http_port import HttpPort
from otel_runs.server.options import Options, Tls
from otel_runs.server.reaping import Reaping
from otel_runs.server.run_page import ShowRun, run_page_route
from otel_runs.server.run_store import RunStore
from otel_runs.server.workers import Workers
from otel_runs.server.writes import Writes

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 20.0
"""To write what was accepted before a stop. Kubernetes kills after 30; ports, workers and exporters end later."""
_WRITERS: Final = 2
"""Threads that write into a database that takes several transactions: one maps spans while the other waits for it."""
_LEAST_BYTES: Final = 262_144
"""For the second of them, some thousand spans: of small requests many shall share a transaction."""
_PROBE_SECONDS: Final = 3.0
_GRACE_SECONDS: Final = 2.0


class Ports(NamedTuple):
    """Where a server listens."""

    otlp_grpc: Address
    otlp_http: Address


class RunServer:
    """Receives spans over OTLP and stores them. Lives in one event loop.

    Args:
        options: what the user chose.
        show_run: makes the page of a run; None: there is none.

    Raises:
        SettingsError: the database's URL cannot be used.
    """

    def __init__(self, options: Options, show_run: ShowRun | None = None) -> None:
        self._options = options
        self._store = RunStore(options.database)
        room = Room(options.queue_bytes)
        self._meters = Meters(room)
        self._logged = self._meters.counts
        self._store.load_driver()  # before workers are forked, which share it then
        self._workers = Workers(options) if options.workers > 1 else None
        store = self._workers or Storing(self._store.save, options.limits, options.most_bytes)
        threads = _WRITERS if self._store.several_writers else 1
        writers, least = (threads, _LEAST_BYTES) if self._workers is None else (options.workers, 0)
        self._writes = Writes(store.store, self._store.try_writing)
        self._intake = Intake(self._writes.store, room=room, meters=self._meters, writers=writers, least_bytes=least)
        self._desk = Desk(self._intake, room, self._meters, token=options.token, most_bytes=options.most_bytes)
        # In this process alone, however many workers there are; but it takes its turn among them.
        self._reaped = self._store if self._workers is None else RunStore(options.database, self._workers.turns)
        self._reaping = Reaping(self._reaped.reap, options.lost_after) if options.lost_after else None
        self._pages = () if show_run is None else (run_page_route(self._desk, show_run),)
        self._probing: asyncio.Task[str | None] | None = None
        self._grpc: grpc.aio.Server | None = None
        self._http: HttpPort | None = None
        self._logging: asyncio.Task[None] | None = None

    @property
    def counts(self) -> Counts:
        """What came in, and what became of it."""
        return self._meters.counts

    @property
    def place(self) -> str:
        """The database, for people."""
        return self._store.place

    async def start(self) -> Ports:
        """Open the database and the ports.

        Raises:
            OtelRunsError: the database cannot be used and will not be by itself, or an address cannot be had.
        """
        options = self._options
        listening: socket.socket | None = None
        try:
            listening = listening_socket(options.otlp_http, "--otlp-http")
            self._grpc = grpc_server(self._desk, self.problem)
            grpc_port = _required(_added_port(self._grpc, options.otlp_grpc, options.tls), options.otlp_grpc)
            if not await asyncio.to_thread(self._store.open):
                logger.warning("%s cannot be reached now; clients are asked to send again.", self._store.place)
            if self._workers is not None:
                await asyncio.to_thread(self._workers.await_ready)
        except BaseException:
            if listening is not None:
                listening.close()
            # Let it go now: as a part of the error it would live until Python ends, and gRPC, in many versions, then
            # waits for ever for a thread of its own that has gone before.
            self._grpc = None
            await self._release()
            raise
        self._intake.start()
        if self._reaping is not None:
            self._reaping.start()
        http_port = listening.getsockname()[1]
        self._http = HttpPort(http_app(self._desk, self.problem, self._pages), listening, options.tls)
        self._http.start()
        await self._grpc.start()
        if options.log_seconds:
            self._logging = asyncio.create_task(self._log(options.log_seconds))
        return Ports(options.otlp_grpc._replace(port=grpc_port), options.otlp_http._replace(port=http_port))

    async def stop(self) -> bool:
        """Commit and answer what was accepted, refuse what comes meanwhile, close everything.

        Returns:
            Whether everything that was accepted is committed; the senders of the rest were told to send it again.
        """
        looking = asyncio.to_thread(self._reaping.stop if self._reaping is not None else lambda: None)
        is_done, _ = await asyncio.gather(asyncio.to_thread(self._intake.stop, STOP_SECONDS), looking)
        # Only now: until here the ports answer what comes with "send again", which is better than no answer.
        await asyncio.gather(*self._closing_ports())
        if self._logging is not None:
            self._logging.cancel()
            self._log_what_came()  # what was refused since the last line is told nowhere else
        await self._release()
        return is_done

    def _closing_ports(self) -> Iterator[Awaitable[None]]:
        if self._grpc is not None:
            yield self._grpc.stop(_GRACE_SECONDS)
        if self._http is not None:
            yield self._http.stop()

    async def _release(self) -> None:
        """End the workers, and close the database."""
        if self._workers is not None:
            await asyncio.to_thread(self._workers.close)
        await asyncio.to_thread(self._reaped.close)
        await asyncio.to_thread(self._store.close)

    async def problem(self) -> str | None:
        """Why spans cannot be taken now; None if they can."""
        try:
            self._intake.require_room()
        except Exception as exc:  # noqa: BLE001  whatever it is, it is the answer
            return str(exc)
        if self._probing is None or self._probing.done():  # a database that hangs is asked once, not by everybody
            self._probing = asyncio.create_task(asyncio.to_thread(self._store_problem))
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await asyncio.shield(self._probing)
        except TimeoutError:
            return f"the run database did not answer within {_PROBE_SECONDS:g} seconds"

    def _store_problem(self) -> str | None:
        return self._store.problem() or self._writes.problem()

    async def _log(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            self._log_what_came()

    def _log_what_came(self) -> None:
        now = self.counts
        if now != self._logged:
            logger.info("%s, queue bytes: %d", summary(now, self._logged), self._meters.queue_bytes)
        self._logged = now


def summary(now: Counts, before: Counts) -> str:
    """What came in between two moments, in one line."""
    since = {name: new - old for name, new, old in zip(Counts._fields, now, before, strict=True)}
    seconds = since.pop("answer_seconds")
    answered = since["requests"] - since["requests_refused"] - since["requests_put_off"]
    counted = ", ".join(f"{name.replace('_', ' ')}: {number}" for name, number in since.items())
    return f"{counted}, mean seconds to answer: {seconds / answered:.3f}" if answered else counted


def _added_port(server: grpc.aio.Server, address: Address, tls: Tls | None) -> int:
    """The number of the port; 0 if the address cannot be had."""
    try:
        if tls is None:
            return int(server.add_insecure_port(str(address)))
        credentials = grpc.ssl_server_credentials([(tls.key.read_bytes(), tls.certificate.read_bytes())])
        return int(server.add_secure_port(str(address), credentials))
    except RuntimeError:  # some versions return 0
        return 0


def _required(port: int, address: Address) -> int:
    if port == 0:
        raise cannot_listen(address, "--otlp-grpc", "the address is in use, or not one of this machine")
    return port
