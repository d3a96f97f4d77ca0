"""Where an OTLP endpoint takes log records: the same address, options and transport as for its spans.

The log exporters of OpenTelemetry are not used: their module is private, their records change from version to version,
and their retries hold a call for up to a minute. The variables that they read are.
"""

from __future__ import annotations

import gzip
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

if TYPE_CHECKING:
    import grpc
    import requests

LONGEST_SECONDS: Final = 2.0
"""That one call may take, whatever ``OTEL_EXPORTER_OTLP_TIMEOUT`` allows: spans wait behind it."""
_TRACES_PATH: Final = "/v1/traces"
_LOGS_PATH: Final = "/v1/logs"
_METHOD: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_UNKNOWN_CODES: Final = frozenset({404, 405, 501})
_RETRYABLE_CODES: Final = frozenset({408, 429, 502, 503, 504})
"""Source: OTLP specification, OTLP/HTTP Response; 408 as the exporters of OpenTelemetry."""


class Answer(Enum):
    """What an endpoint says to log records."""

    TAKEN = auto()
    REFUSED = auto()
    """These records, for good."""
    LATER = auto()
    """Not now, or no answer."""
    UNKNOWN = auto()
    """It takes no logs at all."""


class LogsService(ABC):
    """An endpoint that may take log records. Connects at the first call, and anew in a forked child.

    Args:
        options: of the endpoint.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._process = 0

    def send(self, body: bytes) -> Answer:
        """Send one ExportLogsServiceRequest, in one attempt.

        Args:
            body: the message, not compressed.
        """
        if self._process != os.getpid():
            self._process = os.getpid()
            self._connect()
        return self._send(body)

    @abstractmethod
    def _connect(self) -> None: ...

    @abstractmethod
    def _send(self, body: bytes) -> Answer: ...


class Options:
    """The standard variables of OTLP exporters, as far as they speak of an endpoint's logs.

    Args:
        endpoint: what the spans are sent to by argument; None: the variables say it.
        environ: the variables.
    """

    def __init__(self, endpoint: str | None, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self.given = endpoint
        self._signals = ["LOGS_", ""]
        if endpoint is not None or self.read("ENDPOINT") is None:
            # Logs go where spans go, so what is said of spans holds for them.
            self._signals = ["LOGS_", "TRACES_", ""]

    def read(self, name: str) -> str | None:
        """A variable's value, for instance of ``COMPRESSION``; None if it is not set."""
        values = (self._environ.get(f"OTEL_EXPORTER_OTLP_{signal}{name}") for signal in self._signals)
        return next((value for value in values if value), None)

    @property
    def url(self) -> str | None:
        """Where to post logs; None if that cannot be told from where spans are posted."""
        own = self._environ.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
        base = self._environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        if self.given is None and (own or base):
            return own or f"{(base or '').rstrip('/')}{_LOGS_PATH}"
        if self.given is not None:
            return self.given.rstrip("/").removesuffix(_TRACES_PATH) + _LOGS_PATH
        traces = self._environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://localhost:4318{_TRACES_PATH}")
        return traces.removesuffix(_TRACES_PATH) + _LOGS_PATH if traces.endswith(_TRACES_PATH) else None

    @property
    def target(self) -> tuple[str, bool]:
        """Host and port for gRPC, and whether without TLS."""
        endpoint = self.given or self.read("ENDPOINT") or "http://localhost:4317"
        parts = urlsplit(endpoint)
        insecure = parts.scheme == "http" if (said := self.read("INSECURE")) is None else said.lower() == "true"
        return parts.netloc or endpoint, insecure and parts.scheme != "https"

    @property
    def headers(self) -> dict[str, str]:
        """Of each request; the token of the endpoint may be among them."""
        return dict(parse_env_headers(self.read("HEADERS") or "", liberal=True))

    @property
    def seconds(self) -> float:
        """How long a call may take."""
        try:
            return min(LONGEST_SECONDS, float(self.read("TIMEOUT") or LONGEST_SECONDS))
        except ValueError:
            return LONGEST_SECONDS

    @property
    def compression(self) -> str:
        """``gzip``, ``deflate`` or ``none``."""
        return (self.read("COMPRESSION") or "none").strip().lower()


class LogsOverHttp(LogsService):
    """OTLP/HTTP, protobuf."""

    def __init__(self, options: Options, url: str) -> None:
        super().__init__(options)
        self._url = url
        self._session: requests.Session

    def _connect(self) -> None:
        import requests

        options = self._options
        self._session = requests.Session()
        self._session.headers.update({**options.headers, "Content-Type": "application/x-protobuf"})
        if options.compression in _COMPRESS:
            self._session.headers["Content-Encoding"] = options.compression
        key, certificate = options.read("CLIENT_KEY"), options.read("CLIENT_CERTIFICATE")
        self._session.cert = (certificate, key) if certificate and key else certificate
        self._verify = options.read("CERTIFICATE") or True

    def _send(self, body: bytes) -> Answer:
        import requests

        compress = _COMPRESS.get(self._options.compression, bytes)
        try:
            response = self._session.post(
                self._url,
                data=compress(body),
                timeout=self._options.seconds,
                verify=self._verify,
                allow_redirects=False,
            )
        except requests.RequestException:
            return Answer.LATER
        code = response.status_code
        if response.ok:
            return Answer.TAKEN
        if code in _UNKNOWN_CODES:
            return Answer.UNKNOWN
        return Answer.LATER if code in _RETRYABLE_CODES else Answer.REFUSED


_COMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {"gzip": gzip.compress, "deflate": zlib.compress}


class LogsOverGrpc(LogsService):
    """OTLP/gRPC."""

    def _connect(self) -> None:
        import grpc

        options = self._options
        target, is_insecure = options.target
        compression = grpc.Compression.Gzip if options.compression == "gzip" else grpc.Compression.NoCompression
        if is_insecure:
            self._channel = grpc.insecure_channel(target, compression=compression)
        else:
            credentials = grpc.ssl_channel_credentials(
                *(_file(options.read(name)) for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"))
            )
            self._channel = grpc.secure_channel(target, credentials, compression=compression)
        self._export: Any = self._channel.unary_unary(_METHOD)

    def _send(self, body: bytes) -> Answer:
        import grpc

        try:
            self._export(body, timeout=self._options.seconds, metadata=tuple(self._options.headers.items()))
        except grpc.RpcError as exc:
            return _answer_of(exc)
        return Answer.TAKEN


def _answer_of(error: grpc.RpcError) -> Answer:
    import grpc

    code = error.code()
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return Answer.UNKNOWN
    refusals = {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
    return Answer.REFUSED if code in refusals else Answer.LATER


def _file(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
