"""OTLP over gRPC, and gRPC's own health service.

Handlers take the bytes of a message, so that a message that cannot be read is answered by us, with the reason.

Source: OpenTelemetry Protocol specification, "OTLP/gRPC"; opentelemetry-proto collector/*/v1/*_service.proto.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError as ProtobufError
from grpc_health.v1 import health, health_pb2

from otel_runs.errors import DecodeError, NotReceivedError, OtelRunsError, SlowRequestError
from otel_runs.receiver.answers import Answer
from otel_runs.receiver.compression import unpacked
from otel_runs.receiver.desk import Desk
from otel_runs.receiver.heap import give_back
from otel_runs.receiver.messages import encoded, response, status
from otel_runs.receiver.over_http import METRICS_ARE_NOT_RECEIVED, Readiness
from otel_runs.receiver.places import Places
from otel_runs.receiver.request import Request, Signal

PROTOCOL: Final = "grpc"
MESSAGE_SECONDS: Final = 30.0
"""In which a request's message must have arrived."""
MESSAGES: Final = 4
"""That may arrive at once, on all connections: gRPC shows a message only when it is complete, so that its bytes cannot
be counted before. Flow control holds the senders of others."""
_SHARE: Final = 8
"""The part of the room that each of them takes meanwhile: 2 MiB, as a rule; few messages are larger."""
_LARGE_MESSAGE: Final = 1_048_576
"""Bytes, of a message after which the heap is given back: gRPC gathers it in pieces, and four of them at a time leave
holes of 20 MB. To store such a message takes fifty times as long."""
CONNECTIONS: Final = 2_000
"""At once; gRPC closes what comes above, and its client tries again."""
IDLE_SECONDS: Final = 75.0
"""That a connection may rest between two calls; its client makes a new one for the next."""
_BEGIN_MILLISECONDS: Final = 10_000
_HEALTH_BYTES: Final = 4_096
"""Of a question for the server's health."""
WATCH_SECONDS: Final = 5.0
"""Between two looks at the server's health for those who watch it."""

_SERVICES: Final[dict[str, Signal]] = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
}
_METRICS: Final = "opentelemetry.proto.collector.metrics.v1.MetricsService"
_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_SERVING: Final[int] = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final[int] = health_pb2.HealthCheckResponse.NOT_SERVING

Handler = Callable[[AsyncIterator[bytes], Any], Awaitable[bytes]]


def grpc_server(desk: Desk, readiness: Readiness) -> grpc.aio.Server:
    """The server behind the gRPC port, without a port yet."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", desk.most_bytes),
            # A second server on the same port must fail, not take a half of the spans.
            ("grpc.so_reuseport", 0),
            # Ours is bounded: gRPC's own, in most versions, unpacks everything before it looks at the limit.
            ("grpc.per_message_decompression", 0),
            # Without: what arrives of a message before it is asked for is 64 kB, and not as much as the network brings.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.max_allowed_incoming_connections", CONNECTIONS),
            ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
            # For those that never begin to speak TLS, or HTTP/2.
            ("grpc.server_handshake_timeout_ms", _BEGIN_MILLISECONDS),
            ("grpc.http2.settings_timeout", _BEGIN_MILLISECONDS),
            # With it, gRPC refuses calls that are at the limit instead of letting the client wait.
            ("grpc.http.overload_protection", 0),
        ],
        compression=grpc.Compression.NoCompression,
    )

    async def metrics(_messages: AsyncIterator[bytes], context: Any) -> bytes:
        await _abort(context, desk.failed(PROTOCOL, NotReceivedError(METRICS_ARE_NOT_RECEIVED)))

    places = Places(MESSAGES)
    exports = {service: _receiver(desk, places, signal) for service, signal in _SERVICES.items()}
    for service, export in {**exports, _METRICS: metrics}.items():
        handlers = {"Export": grpc.stream_unary_rpc_method_handler(export)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    told = _Health(readiness)
    health_handlers = {
        "Check": grpc.unary_unary_rpc_method_handler(told.check),
        "Watch": grpc.unary_stream_rpc_method_handler(told.watch),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(health.SERVICE_NAME, health_handlers),))
    return server


_STREAMS: Final = 100
"""Requests at once on one connection."""


def _receiver(desk: Desk, places: Places, signal: Signal) -> Handler:
    """What answers the requests of one signal.

    A handler of a stream: on the wire it is the same, and the message is not read before there is room for it.
    """

    async def export(messages: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            desk.admit(_authorization(context))
            outcome = await desk.store(
                _request(signal, await _message(messages, context.peer(), desk, places)), PROTOCOL
            )
        except Exception as exc:  # noqa: BLE001  every error has its answer
            answer = desk.failed(PROTOCOL, exc)
        else:
            return encoded(response(signal, outcome), "protobuf")
        # Not in the handler above: the error of the abort would keep the one before it, and that the message.
        return await _abort(context, answer)

    return export


async def _message(messages: AsyncIterator[bytes], connection: str, desk: Desk, places: Places) -> bytes:
    try:
        async with asyncio.timeout(MESSAGE_SECONDS) as leaving, places.one(connection, leaving):
            with desk.arriving() as arriving:
                arriving.add(desk.room_bytes // _SHARE)
                iterator: Any = aiter(messages)
                body: bytes | None = await anext(iterator, None)
                await iterator.aclose()  # it would keep the message
    except TimeoutError as exc:
        msg = "The message did not arrive in time; send it again."
        raise SlowRequestError(msg) from exc
    if body is None:
        msg = "The call came without a message; expected one."
        raise DecodeError(msg)
    if len(body) >= _LARGE_MESSAGE:
        give_back()
    return body


def _request(signal: Signal, message: bytes) -> Request:
    return Request(signal, "protobuf", message, _compression(message))


def _compression(message: bytes) -> str:
    """How a message is packed, which gRPC keeps to itself when it does not unpack.

    No message of OTLP begins like gzip (a field of wire type 7) or deflate (field 15).
    """
    if message.startswith(b"\x1f\x8b"):  # RFC 1952, 2.3.1
        return "gzip"
    # RFC 1950, 2.2: the method, and a check of the first two bytes.
    is_zlib = message.startswith(b"\x78") and int.from_bytes(message[:2], "big") % 31 == 0
    return "deflate" if is_zlib else ""


def _authorization(context: Any) -> str | None:
    found = (value for name, value in context.invocation_metadata() or () if name == "authorization")
    value = next(found, None)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


async def _abort(context: Any, answer: Answer) -> NoReturn:
    details = (("grpc-status-details-bin", status(answer).SerializeToString()),)
    await context.abort(_CODES[answer.grpc], answer.message, details)
    raise AssertionError  # abort raises


class _Health:
    """Says that the server serves while it can store spans.

    Takes bytes like the others: of a message that cannot be read, gRPC would write a traceback into the log.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def check(self, message: bytes, context: Any) -> bytes:
        """Of the whole server, or one of its services."""
        service = await _asked_service(message, context)
        status = await self._status(service)
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{service} is no service here.")
        return _told(status)

    async def watch(self, message: bytes, context: Any) -> None:
        """The same, and again whenever it has changed."""
        service = await _asked_service(message, context)
        told = None
        while not context.cancelled():
            status = await self._status(service)
            if status != told:
                await context.write(_told(status))
            told = status
            await asyncio.sleep(WATCH_SECONDS)

    async def _status(self, service: str) -> int:
        if service and service not in _SERVICES:
            return _UNKNOWN
        return _SERVING if await self._readiness() is None else _NOT_SERVING


async def _asked_service(message: bytes, context: Any) -> str:
    try:
        plain = unpacked(message, _compression(message), _HEALTH_BYTES)
        service: str = health_pb2.HealthCheckRequest.FromString(plain).service
    except (ProtobufError, OtelRunsError):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The message is no HealthCheckRequest.")
        raise  # abort has raised
    return service


def _told(status: int) -> bytes:
    answer: bytes = health_pb2.HealthCheckResponse(status=status).SerializeToString()
    return answer
