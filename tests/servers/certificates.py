"""A certificate for 127.0.0.1 that signs itself, made by the machine's openssl."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.servers.missing import ServerMissingError


class Certificate(NamedTuple):
    """Files in PEM."""

    file: Path
    key: Path


def new_certificate(folder: Path) -> Certificate:
    """Make a certificate.

    Raises:
        ServerMissingError: the machine has no openssl.
    """
    if shutil.which("openssl") is None:
        msg = "TLS needs a certificate, and openssl is not on this machine"
        raise ServerMissingError(msg)
    made = Certificate(folder / "server.pem", folder / "server.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(made.key), "-out", str(made.file), "-days", "1"]
    names = ["-subj", "/CN=otel-runs tests", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *files, *names], check=True, capture_output=True, timeout=60)
    return made
