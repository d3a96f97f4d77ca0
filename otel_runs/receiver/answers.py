"""What a client is told when its request fails: the one place where our errors become codes of HTTP and gRPC.

Source: OpenTelemetry Protocol specification, "OTLP/gRPC Response, Failures", "OTLP/gRPC Throttling", "OTLP/HTTP
Response, Failures", "Retryable Response Codes", "Bad Data" and "OTLP/HTTP Throttling".
"""

from __future__ import annotations

from typing import Final, NamedTuple

from google.rpc import code_pb2 as grpc_code

from otel_runs.errors import (
    DecodeError,
    NotReceivedError,
    OtelRunsError,
    OverloadedError,
    SlowRequestError,
    StoppingError,
    StoreError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedError,
)


class Answer(NamedTuple):
    """The codes of one failure, and what is said to the client."""

    http: int
    grpc: int
    """A number of google.rpc.Code."""
    retry_seconds: int | None
    """When to send the same request again; None: never, it would fail again."""
    message: str = ""


_ANSWERS: Final[tuple[tuple[type[OtelRunsError], Answer], ...]] = (
    (DecodeError, Answer(400, grpc_code.INVALID_ARGUMENT, None)),
    (UnauthenticatedError, Answer(401, grpc_code.UNAUTHENTICATED, None)),
    # Not 501: exporters of opentelemetry-python send again what was answered with any 5xx.
    (NotReceivedError, Answer(404, grpc_code.UNIMPLEMENTED, None)),
    # RESOURCE_EXHAUSTED without RetryInfo is permanent, and what gRPC itself says of a message above its limit.
    (TooLargeError, Answer(413, grpc_code.RESOURCE_EXHAUSTED, None)),
    (UnsupportedError, Answer(415, grpc_code.INVALID_ARGUMENT, None)),
    # Not 408, which OTLP does not let a client send again: a slow network is no fault of the spans.
    (SlowRequestError, Answer(503, grpc_code.UNAVAILABLE, 1)),
    (OverloadedError, Answer(503, grpc_code.RESOURCE_EXHAUSTED, 1)),
    (StoppingError, Answer(503, grpc_code.UNAVAILABLE, 2)),
    # Down, locked, or in need of repair: the spans are not to blame, and are worth keeping until it takes them. What
    # was wrong names the database, so it is for the server's log.
    (StoreError, Answer(503, grpc_code.UNAVAILABLE, 5, "The run database cannot take spans now; send them again.")),
)
_DEFECT: Final = Answer(500, grpc_code.INTERNAL, None, "A defect of the server; its log has the details.")


def answer_to(error: BaseException) -> Answer:
    """How a request that ended in an error is answered: retryable or permanent, and why."""
    for kind, answer in _ANSWERS:
        if isinstance(error, kind):
            return answer if answer.message else answer._replace(message=str(error))
    return _DEFECT
