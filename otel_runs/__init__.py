"""Run history you can query, from plain OpenTelemetry traces.

Everything is loaded when it is first used: ``import otel_runs`` loads little more than OpenTelemetry's API (``make
bench`` measures it), and a pipeline that only emits spans never loads the database parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

# Not lazy: importing the package otel_runs.instrument would set this name to the package. Imported here, the package
# is loaded first and the function takes the name for good.
from otel_runs.instrument.hook import instrument

if TYPE_CHECKING:
    from otel_runs.counters import stats
    from otel_runs.export.configure import configure
    from otel_runs.export.configure import configure_from_environment as configure_from_environment
    from otel_runs.export.exporter import RunsSpanExporter
    from otel_runs.instrument.active import current_run, current_step
    from otel_runs.instrument.declare import model, run, step
    from otel_runs.instrument.handles import record, skip
    from otel_runs.instrument.propagate import carry, child_environment

    __version__: str

__all__ = [
    "RunsSpanExporter",
    "__version__",
    "carry",
    "child_environment",
    "configure",
    "current_run",
    "current_step",
    "instrument",
    "model",
    "record",
    "run",
    "skip",
    "stats",
    "step",
]

_HOMES: Final = {
    "RunsSpanExporter": "otel_runs.export.exporter",
    "carry": "otel_runs.instrument.propagate",
    "child_environment": "otel_runs.instrument.propagate",
    "configure": "otel_runs.export.configure",
    "configure_from_environment": "otel_runs.export.configure",
    "current_run": "otel_runs.instrument.active",
    "current_step": "otel_runs.instrument.active",
    "model": "otel_runs.instrument.declare",
    "record": "otel_runs.instrument.handles",
    "run": "otel_runs.instrument.declare",
    "skip": "otel_runs.instrument.handles",
    "stats": "otel_runs.counters",
    "step": "otel_runs.instrument.declare",
}
"""Public name -> the module it is loaded from."""


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("otel-runs")
    except PackageNotFoundError:  # run from a folder or a bundle, without having been installed
        return "unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
