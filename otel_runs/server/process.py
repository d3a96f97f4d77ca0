"""The server as a process: its log, its signals, its line of standard output."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from types import FrameType
from typing import Final

from otel_runs.garbage import look_seldom
from otel_runs.receiver.heap import keep_little
from otel_runs.server.log import start_log
from otel_runs.server.open_files import TellOfTooMany, allow_many
from otel_runs.server.options import Options
from otel_runs.server.own_metrics import start_own_metrics
from otel_runs.server.run_page import ShowRun
from otel_runs.server.run_server import RunServer

logger = logging.getLogger(__name__)

_METRICS_MILLISECONDS: Final = 2_000
"""For the last export of the server's own metrics."""
_MOST_STOP_SECONDS: Final = 28.0
"""From the signal to the end; Kubernetes and docker-compose.yml kill after 30."""
_LAST_SECONDS: Final = 3.0
"""Of them, for what is left to do when all is written and both ports are closed."""
_NOT_DONE: Final = 1
"""The exit code then."""


def run_process(options: Options, show_run: ShowRun | None = None) -> bool:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        options: what the user chose.
        show_run: as of ``RunServer``.

    Returns:
        Whether everything that was accepted is committed.

    Raises:
        OtelRunsError: the server cannot start.
    """
    start_log()
    allow_many()
    keep_little()
    look_seldom()
    _warn(options)
    server = RunServer(options, show_run)  # before there are threads, of exporters for instance: it may fork
    own_metrics = start_own_metrics()
    end = _End()
    try:
        return asyncio.run(_serve(server, end))
    finally:
        if own_metrics is not None:
            own_metrics.shutdown(_METRICS_MILLISECONDS)
        end.cancel()


class _End:
    """Ends the process where it does not end by itself.

    Python waits for its threads, and one of them may wait for a database that answers neither yes nor no: to look
    whether it can be reached, or for the page of a run. Nothing that was acknowledged hangs on them.
    """

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def within(self, seconds: float, code: int) -> None:
        """End it so much later, unless that is said again or it is cancelled."""
        self.cancel()
        self._timer = threading.Timer(seconds, os._exit, (code,))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Let it run."""
        if self._timer is not None:
            self._timer.cancel()


async def _serve(server: RunServer, end: _End) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(TellOfTooMany())

    def begin_to_stop() -> None:
        if not stop.is_set():
            stop.set()
            end.within(_MOST_STOP_SECONDS, _NOT_DONE)

    def ask_to_stop(number: int, _frame: FrameType | None) -> None:
        logger.info("%s: writing what was accepted, then stopping.", signal.Signals(number).name)
        loop.call_soon_threadsafe(begin_to_stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    ports = await server.start()
    print(  # noqa: T201  for programs that start the server and want to know its ports
        f"otel-runs serve: ready otlp-grpc={ports.otlp_grpc} otlp-http={ports.otlp_http} db={server.place}", flush=True
    )
    await stop.wait()
    is_done = await server.stop()
    if not is_done:
        logger.error("Not everything could be written in time; its senders were asked to send it again.")
    end.within(_LAST_SECONDS, 0 if is_done else _NOT_DONE)
    return is_done


def _warn(options: Options) -> None:
    open_to_others = [str(each) for each in (options.otlp_grpc, options.otlp_http) if not each.is_loopback]
    if open_to_others and options.token is None:
        logger.warning(
            "Whoever reaches %s can write runs and read them: set OTEL_RUNS_SERVER_TOKEN, or listen on 127.0.0.1.",
            " and ".join(open_to_others),
        )
    if open_to_others and options.token is not None and options.tls is None:
        logger.warning(
            "The token travels unencrypted: give --tls-cert and --tls-key, or put a proxy with TLS in front."
        )
