"""What a server is started with."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from otel_runs import settings
from otel_runs.errors import SettingsError
from otel_runs.server.address import Address
from otel_runs.spans.limits import Limits, limits_from_settings


class Tls(NamedTuple):
    """Files in PEM form."""

    certificate: Path
    key: Path


def tls_from_files(certificate: Path, key: Path) -> Tls:
    """The files, after a look whether they can be used.

    Raises:
        SettingsError: they cannot.
    """
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as exc:  # of ssl, too
        msg = (
            f"--tls-cert {certificate} and --tls-key {key} cannot be used: {exc.strerror or exc}; "
            "expected a certificate and its unencrypted key in PEM form"
        )
        raise SettingsError(msg) from exc
    return Tls(certificate, key)


class Options(NamedTuple):
    """Everything that a user can choose."""

    otlp_grpc: Address
    otlp_http: Address
    database: str | None
    token: str | None
    """That clients must show; None lets everybody in."""
    tls: Tls | None
    limits: Limits
    most_bytes: int
    """Of one request, as sent and after decompression."""
    queue_bytes: int
    """Of all requests that wait."""
    workers: int
    """Processes that write; 1: the server's own."""
    log_seconds: float
    """Between two lines in the log that say what came in; 0 writes none."""
    lost_after: float
    """Seconds without a sign of life after which a run counts as lost; 0: never."""


def options_from_settings(
    *,
    otlp_grpc: Address,
    otlp_http: Address,
    database: str | None,
    tls: Tls | None = None,
    workers: int = 1,
    environ: Mapping[str, str] = os.environ,
) -> Options:
    """The options: what the command line says, and the settings of the environment.

    Raises:
        SettingsError: a setting cannot be used.
    """
    return Options(
        otlp_grpc=otlp_grpc,
        otlp_http=otlp_http,
        database=database,
        token=_token(environ),
        tls=tls,
        limits=limits_from_settings(environ),
        most_bytes=settings.value(settings.SERVER_REQUEST_BYTES, environ),
        queue_bytes=settings.value(settings.SERVER_QUEUE_BYTES, environ),
        workers=workers,
        log_seconds=settings.value(settings.SERVER_LOG_SECONDS, environ),
        lost_after=settings.value(settings.LOST_AFTER, environ),
    )


def _token(environ: Mapping[str, str]) -> str | None:
    file = settings.read(settings.SERVER_TOKEN_FILE, environ)
    if file is None:
        token = settings.read(settings.SERVER_TOKEN, environ)
        return None if token is None else _usable(token, settings.SERVER_TOKEN.env)
    try:
        return _usable(Path(file).read_text(encoding="utf-8"), f"{settings.SERVER_TOKEN_FILE.env} is {file!r}, which")
    except (OSError, UnicodeDecodeError) as exc:
        msg = f"{settings.SERVER_TOKEN_FILE.env} is {file!r}, which cannot be read: {exc}"
        raise SettingsError(msg) from exc


def _usable(text: str, where: str) -> str:
    """The token as a header carries it: without the end of its line. No message tells it."""
    token = text.strip()
    if not token:
        msg = f"{where} is empty; expected the token that clients must send"
        raise SettingsError(msg)
    if not (token.isascii() and token.isprintable()):
        msg = f"{where} has characters that no header carries; expected a token of printable ASCII characters"
        raise SettingsError(msg)
    return token
