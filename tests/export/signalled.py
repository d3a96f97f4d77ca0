"""Programs that are ended by a signal, and what is stored of them."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from subprocess import Popen
from typing import Any, NamedTuple

from tests.programs import TIMEOUT, Programs

HEAD = """
import asyncio, logging, multiprocessing, os, signal, sys, threading, time
import otel_runs
from opentelemetry import trace
from otel_runs import run, step
url = os.environ.get("URL", "runs.db")
tracer = trace.get_tracer("t")
def stay():
    for _ in range(600): time.sleep(0.1)
async def stay_async():
    for _ in range(600): await asyncio.sleep(0.1)
def ready():
    print("ready", flush=True)
    stay()
"""
"""Programs stay by many short sleeps: Python sleeps one that a signal just precedes to its end, and hears it then."""
NIGHTLY = """
otel_runs.configure(url)
with run("nightly"):
    with step("done"): pass
    with step("load"):
        ready()
"""
CANCELLED = ("cancelled", "signal:SIGTERM")


class Died(NamedTuple):
    code: int
    stdout: str
    stderr: str
    seconds: float
    """From the signal to the end."""


@contextmanager
def started(
    programs: Programs, command: Sequence[str], *, environ: Mapping[str, str] | None = None
) -> Iterator[Popen[str]]:
    """A program that has said that it is ready."""
    process = programs.start(command, environ=environ)
    try:
        await_line(process, "ready")
        yield process
    finally:
        process.kill()
        process.communicate()


def await_line(process: Popen[str], expected: str) -> None:
    """Wait until the program says so."""
    assert process.stdout is not None
    assert process.stdout.readline() == f"{expected}\n"


def killed(
    programs: Programs, code: str, number: signal.Signals | None = None, *, environ: Mapping[str, str] | None = None
) -> Died:
    """Run a program until it says that it is ready, and send it a signal; without one it is to send itself one."""
    with started(programs, [sys.executable, str(programs.write(HEAD + code))], environ=environ) as process:
        asked = time.monotonic()
        if number is not None:
            process.send_signal(number)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        return Died(process.returncode, stdout, stderr, time.monotonic() - asked)


def the_run(programs: Programs) -> tuple[Any, ...]:
    (run,) = programs.rows("SELECT status, stop_reason FROM runs")
    return run


def steps(programs: Programs) -> dict[str, tuple[Any, ...]]:
    return {name: tuple(rest) for name, *rest in programs.rows("SELECT name, status, stop_reason FROM model_runs")}
