"""``otel-runs serve``: receive spans over OTLP and store them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otel_runs.cli.options import Database
from otel_runs.cli.served import Asked, become_server
from otel_runs.errors import SettingsError


def serve_command(
    context: typer.Context,
    *,
    otlp_grpc: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", show_default=False, help="Where to listen for OTLP/gRPC. Default: 127.0.0.1:4317."
        ),
    ] = "127.0.0.1:4317",
    otlp_http: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", show_default=False, help="Where to listen for OTLP/HTTP. Default: 127.0.0.1:4318."
        ),
    ] = "127.0.0.1:4318",
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's certificate, with its chain, in PEM form.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key, in PEM form.")] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=64, metavar="N", show_default=False, help="Processes that write, each on a core. Default: 1."
        ),
    ] = 1,
    db: Database = None,
) -> None:
    """Receive traces over OTLP, from programs or an OpenTelemetry Collector, and store their runs.

    Success is answered after the commit. SIGTERM and Ctrl-C stop it: what was accepted is written, exit code 0. Port 0
    is a free one; the line "otel-runs serve: ready" on standard output names the ports. The HTTP port has a page for
    each run, too: /runs/ID.
    """
    if (tls_cert is None) != (tls_key is None):
        msg = "--tls-cert and --tls-key belong together; give both or neither"
        raise typer.BadParameter(msg)
    from otel_runs.server.address import address_from_text  # no other command needs it

    try:
        grpc, http = address_from_text(otlp_grpc, "--otlp-grpc"), address_from_text(otlp_http, "--otlp-http")
    except SettingsError as exc:
        raise typer.BadParameter(str(exc)) from exc
    asked = Asked(str(grpc), str(http), str(workers), str(tls_cert or ""), str(tls_key or ""))
    raise typer.Exit(become_server(asked, db or context.obj))
