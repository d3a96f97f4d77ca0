"""``otel-runs serve`` as a process of its own."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from tests.programs import otel_runs_command
from tests.servers.certificates import Certificate, new_certificate
from tests.servers.ports import free_port
from tests.servers.service import Service, is_ok

TOKEN = "token-of-the-tests"


class Serve(Service):
    """A server on ports of its own.

    Args:
        database: URL of the run database; None: an SQLite file in the server's folder.
        guarded: True: with TLS, and for clients with ``TOKEN`` only.
        workers: processes that write.

    Raises:
        ServerMissingError: guarded, and no certificate can be made.
    """

    def __init__(self, database: str | None = None, *, guarded: bool = False, workers: int = 1) -> None:
        super().__init__()
        self.database = database or f"sqlite:///{self.folder / 'runs.db'}"
        self.grpc = f"127.0.0.1:{free_port()}"
        self.certificate: Certificate | None = new_certificate(self.folder) if guarded else None
        self.http = f"{'https' if guarded else 'http'}://127.0.0.1:{free_port()}"
        self.workers = workers
        self.token_file = self.folder / "token"
        self.token_file.write_text(TOKEN)

    def command(self) -> list[str]:
        inlets = ["--otlp-grpc", self.grpc, "--otlp-http", self.http.partition("://")[2]]
        tls = (
            ["--tls-cert", str(self.certificate.file), "--tls-key", str(self.certificate.key)]
            if self.certificate
            else []
        )
        workers = ["--workers", str(self.workers)] if self.workers > 1 else []
        return otel_runs_command("serve", *inlets, *tls, *workers)

    def environ(self) -> Mapping[str, str]:
        guard = {"OTEL_RUNS_SERVER_TOKEN_FILE": str(self.token_file)} if self.certificate else {}
        return {"OTEL_RUNS_DB": self.database, **guard}

    def answers(self) -> bool:
        trusted = ssl.create_default_context(cafile=self.certificate.file) if self.certificate else None
        return is_ok(f"{self.http}/readyz", trusted)
