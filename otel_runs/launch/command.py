"""The parent's part of ``otel-runs exec``: the process is the run."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import Span, StatusCode

from otel_runs import attributes, settings
from otel_runs.export.configure import configure
from otel_runs.instrument.propagate import child_environment, from_environment
from otel_runs.instrument.rules import rules_from_targets
from otel_runs.launch.at_start import call_at_start
from otel_runs.launch.orders import VARIABLE, Orders, Report, read_report
from otel_runs.launch.process import ENDING, Ending, Program, end_like, watch_signals
from otel_runs.store.folder import settled_url

_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
_UNCAUGHT: Final = 1
"""Exit code of a Python process that an exception ended."""
_PYTHON_OPTION_WITH_VALUE: Final = "--check-hash-based-pycs"
_PYTHON_LETTERS: Final = re.compile("-[a-zA-Z]*?([cmWX])(.*)")
"""Options of Python up to the first that has a value."""
_SHELLS: Final = ("bash", "dash", "ksh", "sh", "zsh")


class Wishes(NamedTuple):
    """The options of one ``otel-runs exec``."""

    name: str | None = None
    environment: str | None = None
    database: str | None = None
    otlp_endpoint: str | None = None
    runs: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


def run_command(command: Sequence[str], wishes: Wishes) -> int:
    """Run a program as one run and record how it ended.

    Returns:
        The program's exit code; 127 if there is no such program, 126 if it cannot be executed. Where a signal such as
        SIGINT ended the program, this process dies of it, too.

    Raises:
        SettingsError: the working directory cannot be read, and the database's place depends on it.
        InstrumentError: a function is not named as ``module:function``.
    """
    rules_from_targets(wishes.runs, wishes.models, wishes.steps)  # a mistake is told here, and nothing is started
    watch_signals()
    name = wishes.name or name_of(command)
    url = settled_url(wishes.database)
    setup = configure(
        url,
        otlp_endpoint=wishes.otlp_endpoint,
        service_name=None if os.environ.get("OTEL_SERVICE_NAME") else name,
        environment=wishes.environment,
    )
    tracer = trace.get_tracer("otel_runs")
    span = tracer.start_span(name, from_environment(get_current()), attributes={attributes.KIND: "run"})
    with tempfile.TemporaryDirectory(prefix="otel-runs-") as folder:
        report = Path(folder, "exception.json")
        ending = _run(command, _child_environment(span, url, name, wishes, report), span)
        _mark(span, ending, read_report(report))
    span.end()
    setup.shutdown()
    return end_like(ending)


def name_of(command: Sequence[str]) -> str:
    """What a program is called: the script for an interpreter, else the program itself."""
    program = Path(command[0]).name
    if program.startswith(("python", "pypy")):
        return _name_of_python(command[1:]) or program
    if program in _SHELLS and len(command) > 1 and not command[1].startswith("-"):
        return Path(command[1]).name
    return program.removesuffix(".py")


def _name_of_python(arguments: Sequence[str]) -> str | None:
    rest = iter(arguments)
    for argument in rest:
        if argument == _PYTHON_OPTION_WITH_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return Path(argument).name.removesuffix(".py")
        elif found := _PYTHON_LETTERS.match(argument):
            # Letters may be run together, and with the value of the last: -um shop, -mshop.
            letter, value = found.groups()
            value = value or next(rest, None)
            if letter in "cm":
                return value if letter == "m" else None
    return None


def _run(command: Sequence[str], environ: dict[str, str], span: Span) -> Ending:
    try:
        program = Program(command, environ)
        # While the program runs: nobody then waits at its end for the database parts to be imported.
        threading.Thread(target=import_module, args=("otel_runs.ingest",), daemon=True).start()
        return program.wait()
    except OSError as exc:
        span.record_exception(exc)
        sys.stderr.write(f"otel-runs exec: {command[0]!r} cannot be started: {exc.strerror}\n")
        return Ending(_NOT_FOUND if isinstance(exc, FileNotFoundError) else _NOT_EXECUTABLE, None)


def _mark(span: Span, ending: Ending, report: Report | None) -> None:
    """Say on the span how the process ended."""
    if ending.exit_code is not None:
        span.set_attribute(attributes.PROCESS_EXIT_CODE, ending.exit_code)
    if ending.exit_code == 0:
        return
    reason = f"exit:{ending.exit_code}" if ending.signal is None else f"signal:{ending.signal.name}"
    span.set_attribute(attributes.STOP_REASON, reason)
    if ending.signal in ENDING:
        span.set_attributes({attributes.STATUS: "cancelled", attributes.STATUS_SOURCE: "signal"})
        return
    if report is not None and ending.exit_code == _UNCAUGHT:
        span.add_event("exception", _exception_attributes(report))
    if ending.signal is not None:
        span.set_attributes({attributes.STATUS_SOURCE: "signal", attributes.ERROR_TYPE: ending.signal.name})
    span.set_attribute(attributes.STATUS, "failed")
    span.set_status(StatusCode.ERROR, _description(ending, report))


def _exception_attributes(report: Report) -> dict[str, str]:
    return {
        attributes.EXCEPTION_TYPE: report.type,
        attributes.EXCEPTION_MESSAGE: report.message,
        attributes.EXCEPTION_STACKTRACE: report.stacktrace,
    }


def _description(ending: Ending, report: Report | None) -> str:
    if ending.signal is not None:
        return f"the process was killed by {ending.signal.name}"
    if report is not None and ending.exit_code == _UNCAUGHT:
        return f"{report.type}: {report.message}"
    return f"the process ended with exit code {ending.exit_code}"


def _child_environment(span: Span, url: str, name: str, wishes: Wishes, report: Path) -> dict[str, str]:
    """Our environment, and what makes the program's spans land in this run."""
    with trace.use_span(span, end_on_exit=False):
        environ = child_environment()
    environ[settings.DB.env] = url
    environ.setdefault("OTEL_SERVICE_NAME", name)
    if wishes.environment:
        given = environ.get("OTEL_RESOURCE_ATTRIBUTES")
        # Encoded as in W3C baggage, or a comma would end the value.
        ours = f"{attributes.ENVIRONMENT}={quote(wishes.environment)}"
        environ["OTEL_RESOURCE_ATTRIBUTES"] = f"{given},{ours}" if given else ours
    if wishes.otlp_endpoint:
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = wishes.otlp_endpoint
    environ[VARIABLE] = Orders(wishes.runs, wishes.steps, wishes.models, str(report)).to_text()
    call_at_start(environ, "otel_runs.launch.child:prepare")
    return environ
