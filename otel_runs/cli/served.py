"""What ``otel-runs serve`` becomes: a process that holds the server and nothing else.

The libraries that read its command line would stay in memory as long as it lives: 8 MB (bench/receiving.py, before and
after).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

from otel_runs.cli import exits
from otel_runs.errors import OtelRunsError, SettingsError
from otel_runs.settings import DB

_EXTRA: Final = {"google", "grpc", "grpc_health", "h11", "starlette", "uvicorn", "zstandard"}


class Asked(NamedTuple):
    """What the command line says, as words."""

    otlp_grpc: str
    otlp_http: str
    workers: str
    tls_cert: str = ""
    tls_key: str = ""


def become_server(asked: Asked, database: str | None) -> int:
    """Serve, in place of this program where that can be.

    Args:
        asked: how.
        database: its URL; None: as ``OTEL_RUNS_DB`` says.

    Returns:
        The exit code.
    """
    if database is not None:
        os.environ[DB.env] = database  # not on a command line, where all users could read a password
    if os.name != "posix" or not sys.executable:  # elsewhere the new program would be a process of its own
        return serve(asked)
    # A plain interpreter may not find what this one has found, in an archive for instance.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # -P: what lies in the working directory is not to be imported.
    return os.execve(sys.executable, [sys.executable, "-P", "-m", __name__, *asked], environ)  # noqa: S606  no shell needed


def serve(asked: Asked) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Returns:
        The exit code.
    """
    try:
        return exits.OK if _serve(asked) else exits.ERROR
    except OtelRunsError as exc:
        from otel_runs.cli.output import complain  # loads rich

        complain(str(exc))
        return exits.ERROR


def _serve(asked: Asked) -> bool:
    # gRPC's library reads it when it is loaded; it would write a line for whatever clients do wrong.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from otel_runs.server.address import address_from_text
        from otel_runs.server.options import options_from_settings, tls_from_files
        from otel_runs.server.process import run_process
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        msg = f"otel-runs serve needs {exc.name}, which is not installed: pip install 'otel-runs[server]'"
        raise SettingsError(msg) from exc

    def show_run(run_id: str) -> str:
        from otel_runs.cli.page import run_page  # with the read side, which most servers are never asked for

        return run_page(None, run_id)

    options = options_from_settings(
        otlp_grpc=address_from_text(asked.otlp_grpc, "--otlp-grpc"),
        otlp_http=address_from_text(asked.otlp_http, "--otlp-http"),
        database=None,
        workers=int(asked.workers),
        tls=tls_from_files(Path(asked.tls_cert), Path(asked.tls_key)) if asked.tls_cert else None,
    )
    return run_process(options, show_run)


if __name__ == "__main__":
    sys.exit(serve(Asked(*sys.argv[1:])))
