"""What happens in a Python process below ``otel-runs exec`` before its program starts."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

from otel_runs.launch.orders import VARIABLE, Orders, Report, orders_from_text, write_report

if TYPE_CHECKING:  # imports the SDK, and this module is imported by Python processes that need not
    from otel_runs.export.setup import Setup

_CONTEXT_VARIABLE = "OTEL_PYTHON_CONTEXT"
_CONTEXT_NAME = "otel_runs"


def prepare() -> None:
    """Set this process up as the orders in the environment say."""
    orders = orders_from_text(os.environ[VARIABLE])
    if orders.report is not None:
        _report_uncaught(orders.report)
        # Not to be reported again by the processes that this one starts; it may well survive their failure.
        os.environ[VARIABLE] = orders._replace(report=None).to_text()
    _join_run()
    _set_up(orders)


def _join_run() -> None:
    """Make the run of ``TRACEPARENT`` the parent of all spans that have no other, in every thread."""
    # Before opentelemetry is imported, which reads it then; not for other environments, which do not know this name.
    is_ours = os.environ.setdefault(_CONTEXT_VARIABLE, _CONTEXT_NAME) == _CONTEXT_NAME
    from opentelemetry import context

    if is_ours:
        del os.environ[_CONTEXT_VARIABLE]

    from otel_runs.instrument.propagate import from_environment
    from otel_runs.launch.context import ProcessContext

    parent = from_environment(context.Context())
    runtime = context._RUNTIME_CONTEXT  # noqa: SLF001  OpenTelemetry has no public way to its plug-in
    if isinstance(runtime, ProcessContext):
        runtime.set_default(parent)
    else:
        context.attach(parent)


def _set_up(orders: Orders) -> None:
    from otel_runs.export.configure import configure
    from otel_runs.export.setup import Joinable
    from otel_runs.instrument import script
    from otel_runs.instrument.rules import rules_from_targets
    from otel_runs.launch.libraries import LibrarySpansAreSteps, instrument_libraries

    setup = configure()
    provider = setup.provider
    _follow_program(setup)
    if orders.name_functions:
        # Below the program's first process there are others, which are not expected to import every module.
        rules = rules_from_targets(orders.runs, orders.models, orders.steps)
        script.install(rules, tell=orders.report is not None)
    elif isinstance(provider, Joinable):
        provider.add_span_processor(LibrarySpansAreSteps())
    instrument_libraries()


def _follow_program(setup: Setup) -> None:
    """Let a program that sets a tracer provider of its own have it, as it would without us; and store its spans, too.

    OpenTelemetry refuses a second provider, and ours is set before the program's first line.
    """
    from opentelemetry import trace

    from otel_runs.export.joining import extend
    from otel_runs.export.setup import Joinable

    set_once = trace.set_tracer_provider

    def set_tracer_provider(tracer_provider: trace.TracerProvider) -> None:
        trace.set_tracer_provider = set_once
        if isinstance(tracer_provider, Joinable):
            extend(setup, tracer_provider)
        trace._TRACER_PROVIDER = tracer_provider  # noqa: SLF001  the API has no way to replace a provider

    trace.set_tracer_provider = set_tracer_provider


def _report_uncaught(path: str) -> None:
    """Leave the exception that ends this process for the parent, which records it on the run."""
    say_it = sys.excepthook

    def report(type_: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
        if issubclass(type_, Exception):
            write_report(path, _report(type_, exc, trace))
        say_it(type_, exc, trace)

    sys.excepthook = report


def _report(type_: type[BaseException], exc: BaseException, trace: TracebackType | None) -> Report:
    name = type_.__qualname__ if type_.__module__ == "builtins" else f"{type_.__module__}.{type_.__qualname__}"
    return Report(name, str(exc), "".join(traceback.format_exception(type_, exc, trace)))
