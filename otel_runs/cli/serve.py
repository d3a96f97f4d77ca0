"""``otel-runs serve``: receive spans over OTLP and store them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otel_runs.cli import exits
from otel_runs.cli.options import Database
from otel_runs.errors import SettingsError

_EXTRA = {"google", "grpc", "grpc_health", "h11", "starlette", "uvicorn", "zstandard"}


def serve_command(
    context: typer.Context,
    *,
    otlp_grpc: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen for OTLP/gRPC. Default: 127.0.0.1:4317.")
    ] = "127.0.0.1:4317",
    otlp_http: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen for OTLP/HTTP. Default: 127.0.0.1:4318.")
    ] = "127.0.0.1:4318",
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's certificate, with its chain, in PEM form.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key, in PEM form.")] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, metavar="N", help="Processes that write, each on a core. Default: 1."),
    ] = 1,
    db: Database = None,
) -> None:
    """Receive traces over OTLP, from programs or an OpenTelemetry Collector, and store their runs.

    Success is answered after the commit. SIGTERM and Ctrl-C stop it: what was accepted is written, exit code 0. Port 0
    is a free one; the line "otel-runs serve: ready" on standard output names the ports. The HTTP port has a page for
    each run, too: /runs/ID.
    """
    try:
        from otel_runs.server.address import address_from_text
        from otel_runs.server.options import options_from_settings, tls_from_files
        from otel_runs.server.process import run_process
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        msg = f"otel-runs serve needs {exc.name}, which is not installed: pip install 'otel-runs[server]'"
        raise SettingsError(msg) from exc
    if (tls_cert is None) != (tls_key is None):
        msg = "--tls-cert and --tls-key belong together; give both or neither"
        raise typer.BadParameter(msg)
    try:
        grpc, http = address_from_text(otlp_grpc, "--otlp-grpc"), address_from_text(otlp_http, "--otlp-http")
    except SettingsError as exc:
        raise typer.BadParameter(str(exc)) from exc
    database = db or context.obj
    options = options_from_settings(
        otlp_grpc=grpc,
        otlp_http=http,
        database=database,
        workers=workers,
        tls=tls_from_files(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None,
    )

    def show_run(run_id: str) -> str:
        from otel_runs.cli.page import run_page  # with the read side, which most servers are never asked for

        return run_page(database, run_id)

    if not run_process(options, show_run):
        raise typer.Exit(exits.ERROR)
