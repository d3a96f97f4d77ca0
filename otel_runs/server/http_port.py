"""The HTTP port: uvicorn inside the server's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from otel_runs.receiver.over_http import HEALTH_PATHS
from otel_runs.server.address import BACKLOG
from otel_runs.server.options import Tls

HEAD_SECONDS: Final = 10.0
"""In which a request's line and headers must have arrived."""
_IDLE_SECONDS: Final = 75
"""That a connection may rest between two requests."""
_HEAD_BYTES: Final = 16_384
_CONNECTIONS: Final = 500
"""At once. Another one takes the place of the one that has rested longest; if none rests, it is answered with 503."""
_FOR_HEALTH: Final = 20
"""Connections above, which may only ask for the server's health: it is alive, and not to be restarted for its load."""
_STOP_SECONDS: Final = 3
"""For requests that are being answered, before they are told to come again."""
_LAST_SECONDS: Final = 1.0
"""For telling them."""
_READ_BYTES: Final = 65_536
"""That are read of a connection at a time. asyncio reads 262,144 of a plain one: h11 and uvicorn each copy them, and
every copy is memory that comes from the kernel and goes back to it (receiver/heap.py), for which all threads wait.
Twenty requests of 10,000 spans at a time are stored a seventh faster so (bench/receivers.py)."""


class HttpPort:
    """Answers HTTP requests.

    Args:
        app: that answers.
        listening: the socket; belongs to this from now on.
        tls: certificate and key; None is plain HTTP.
    """

    def __init__(self, app: Starlette, listening: socket.socket, tls: Tls | None) -> None:
        self._socket = listening
        self._server = _Server(
            uvicorn.Config(
                self._limited(app),
                # Pure Python, but with a limit for headers; requests are few and large here.
                http=_PatientProtocol,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                h11_max_incomplete_event_size=_HEAD_BYTES,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=_STOP_SECONDS,
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.key if tls else None,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    def _limited(self, app: Starlette) -> ASGIApp:
        """Not by the limit of uvicorn, which refuses to tell the health, too."""

        async def limited(scope: Scope, receive: Receive, send: Send) -> None:
            connections = self._server.server_state.connections
            is_full = len(connections) > _CONNECTIONS and len(_staying(connections)) > _CONNECTIONS
            if is_full and scope["path"] not in HEALTH_PATHS:
                headers = {"Connection": "close", "Retry-After": "1"}
                await PlainTextResponse("Too many connections; send it again.\n", 503, headers)(scope, receive, send)
            else:
                await app(scope, receive, send)

        return limited

    def start(self) -> None:
        """Begin to answer."""
        self._serving = asyncio.create_task(self._server.serve([self._socket]))

    async def stop(self) -> None:
        """Finish what is being answered, and close the port."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving  # at its end it cancels what is still under way, and does not wait for the answers
            left = list(self._server.server_state.tasks)
            if left:
                await asyncio.wait(left, timeout=_LAST_SECONDS)


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _PatientProtocol(H11Protocol):
    """A connection on which a request's headers may not take for ever, and which makes room when it rests.

    uvicorn waits without limit for the first request, and for the end of headers that have begun; a few thousand such
    connections would keep everybody else out.
    """

    _limit: asyncio.TimerHandle | None = None
    _heard: float = 0.0
    """The loop's time."""

    def connection_made(self, transport: Any) -> None:
        transport.max_size = _READ_BYTES
        super().connection_made(transport)
        self._heard = self.loop.time()
        self._watch_head()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._limit is not None:
            self._limit.cancel()

    def _make_room(self) -> None:
        staying = [each for each in _staying(self.connections) if each is not self]
        if len(staying) < _CONNECTIONS:
            return
        resting = [each for each in staying if each.cycle is None or each.cycle.response_complete]
        if resting:
            # Over TLS, close() waits half a minute for the goodbye of a client that may long be gone.
            min(resting, key=lambda each: each._heard).transport.abort()  # noqa: SLF001  of the same class
        elif len(staying) >= _CONNECTIONS + _FOR_HEALTH:
            self.transport.abort()

    def _watch_head(self) -> None:
        waits = self.conn.their_state is h11.IDLE
        if waits and self._limit is None:
            self._limit = self.loop.call_later(HEAD_SECONDS, self._close_unless_answering)
        elif not waits and self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _close_unless_answering(self) -> None:
        self._limit = None
        if self.conn.their_state is h11.IDLE:
            self.transport.abort()


def _staying(connections: Iterable[Any]) -> list[Any]:  # uvicorn's types say that a connection always has a request
    """Without those that are being closed, which over TLS may take a while."""
    return [each for each in connections if isinstance(each, _PatientProtocol) and not each.transport.is_closing()]
