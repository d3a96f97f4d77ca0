"""OTLP over HTTP, and the health of the server.

Source: OpenTelemetry Protocol specification, "OTLP/HTTP".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from google.rpc import code_pb2 as grpc_code
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otel_runs.errors import NotReceivedError, SlowRequestError, StoppingError, UnsupportedError
from otel_runs.receiver.answers import Answer, answer_to
from otel_runs.receiver.desk import Desk
from otel_runs.receiver.messages import CONTENT_TYPES, encoded, response, status
from otel_runs.receiver.request import Encoding, Request, Signal
from otel_runs.receiver.room import Share

PROTOCOL: Final = "http"
BODY_SECONDS: Final = 30.0
"""In which a request's body must have arrived."""
_BLOCK_BYTES: Final = 524_288
"""Of a body that are put together as they come."""
_SKIP_SECONDS: Final = 5.0
"""For the rest of a body that is not wanted."""

_ALIVE: Final = "/healthz"
_READY: Final = "/readyz"
HEALTH_PATHS: Final = frozenset({_ALIVE, _READY})

_ENCODINGS: Final[dict[str, Encoding]] = {content_type: encoding for encoding, content_type in CONTENT_TYPES.items()}

Handler = Callable[[HttpRequest], Awaitable[Response]]
Readiness = Callable[[], Awaitable[str | None]]
"""Says why the server is not ready, or None if it is."""


def http_app(desk: Desk, readiness: Readiness, others: Sequence[Route] = ()) -> Starlette:
    """The application behind the HTTP port.

    Args:
        desk: takes what arrives.
        readiness: of the server.
        others: routes that have nothing to do with OTLP.
    """

    async def alive(_request: HttpRequest) -> Response:
        return PlainTextResponse("alive\n")

    async def ready(_request: HttpRequest) -> Response:
        missing = await readiness()
        return PlainTextResponse("ready\n") if missing is None else PlainTextResponse(f"{missing}\n", 503)

    async def metrics(http: HttpRequest) -> Response:
        await _Body(http, desk).skip()
        return _failure(desk.failed(PROTOCOL, NotReceivedError(METRICS_ARE_NOT_RECEIVED)), http)

    async def other(request: HttpRequest, error: Exception) -> Response:
        """An unknown path, or a method that a path does not know."""
        code = error.status_code if isinstance(error, HTTPException) else 500
        nothing = NotReceivedError(f"{request.method} {request.url.path} is not served here; expected {served}.")
        # Counted if it may be an export to a wrong path: browsers and scrapers ask for all kinds of things.
        answer = desk.failed(PROTOCOL, nothing) if request.method == "POST" else answer_to(nothing)
        return _failure(answer._replace(http=code), request, getattr(error, "headers", None))

    served = ", ".join(
        ["POST /v1/traces or /v1/logs", f"GET {_ALIVE} or {_READY}", *(f"GET {route.path_format}" for route in others)]
    )
    app = Starlette(
        routes=[
            Route("/v1/traces", _receiver(desk, "traces"), methods=["POST"]),
            Route("/v1/logs", _receiver(desk, "logs"), methods=["POST"]),
            Route("/v1/metrics", metrics, methods=["POST"]),
            Route(_ALIVE, alive),
            Route(_READY, ready),
            *others,
        ],
        exception_handlers={HTTPException: other},
    )
    # A redirect to the path without its last slash is no answer of OTLP; a permanent error says what is wrong.
    app.router.redirect_slashes = False
    return app


def _receiver(desk: Desk, signal: Signal) -> Handler:
    """What answers the requests of one signal."""

    async def receive(http: HttpRequest) -> Response:
        body = _Body(http, desk)
        try:
            desk.admit(http.headers.get("authorization"), _announced_size(http))
            encoding = _encoding(http)
            with desk.arriving(_announced_size(http)) as arriving:
                content = await body.read(arriving)
            # No other request comes between: store() takes the same room again before it waits.
            compression = http.headers.get("content-encoding", "").strip().lower()
            outcome = await desk.store(Request(signal, encoding, content, compression), PROTOCOL)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is there to read it
        except asyncio.CancelledError:  # the port waits no longer; uvicorn would answer 500, which loses the spans
            stopping = StoppingError("The server stops before it has the whole request; send it again.")
            return _failure(desk.failed(PROTOCOL, stopping), http)
        except Exception as exc:  # noqa: BLE001  every error has its answer
            await body.skip()
            return _failure(desk.failed(PROTOCOL, exc), http)
        return Response(encoded(response(signal, outcome), encoding), media_type=CONTENT_TYPES[encoding])

    return receive


METRICS_ARE_NOT_RECEIVED: Final = (
    "Metrics are not received here, only traces and logs: take otel-runs out of the metrics pipeline, or set "
    "OTEL_METRICS_EXPORTER=none."
)


def _announced_size(http: HttpRequest) -> int:
    size = http.headers.get("content-length", "")
    return int(size) if size.isdecimal() else 0


def _encoding(http: HttpRequest) -> Encoding:
    encoding = _ENCODINGS.get(_content_type(http))
    if encoding is None:
        msg = f"Content-Type is {_content_type(http)!r}; expected one of: {', '.join(_ENCODINGS)}."
        raise UnsupportedError(msg)
    return encoding


def _content_type(http: HttpRequest) -> str:
    """Without its parameters: senders of JSON like to add a charset."""
    return http.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Body:
    """The body of a request, read piece by piece."""

    def __init__(self, http: HttpRequest, desk: Desk) -> None:
        self._http = http
        self._desk = desk
        self._size = 0
        """Bytes that have come."""
        self._is_complete = False

    async def read(self, arriving: Share) -> bytes:
        """All of it.

        Args:
            arriving: told of each piece.

        Raises:
            OverloadedError: there is no room for it.
            TooLargeError: it is above the limit.
            SlowRequestError: it did not arrive in time.
            ClientDisconnect: its sender has gone.
        """
        # Not one buffer that grows: it moves as it does, and leaves holes of all sizes in the heap. Nor all the pieces
        # until the end: they are small, so the heap keeps their place. It would hold 10 MB more (bench/receivers.py).
        blocks: list[bytes] = []
        pieces: list[bytes] = []
        put_together = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not self._is_complete:
                    pieces.append(await self._piece())
                    arriving.add(len(pieces[-1]))
                    if self._size - put_together >= _BLOCK_BYTES:
                        blocks.append(b"".join(pieces))
                        pieces.clear()
                        put_together = self._size
                    self._desk.require_allowed(self._size)
        except TimeoutError as exc:
            msg = f"The body did not arrive within {BODY_SECONDS:g} seconds; send the request again."
            raise SlowRequestError(msg) from exc
        return b"".join([*blocks, *pieces])

    async def skip(self) -> None:
        """Let the client finish, within limits: many see an answer only after they have sent everything."""
        with suppress(TimeoutError, ClientDisconnect, asyncio.CancelledError):  # the answer is due, also at a stop
            async with asyncio.timeout(_SKIP_SECONDS):
                while self._size < 2 * self._desk.most_bytes and not self._is_complete:
                    await self._piece()

    async def _piece(self) -> bytes:
        message = await self._http.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._is_complete = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        self._size += len(piece)
        return piece


def _failure(answer: Answer, http: HttpRequest, headers: dict[str, str] | None = None) -> Response:
    encoding = _ENCODINGS.get(_content_type(http), "json")
    headers = dict(headers or {})
    if answer.retry_seconds is not None:
        headers["Retry-After"] = str(answer.retry_seconds)
    if answer.grpc == grpc_code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(encoded(status(answer), encoding), answer.http, headers, CONTENT_TYPES[encoding])
