"""Where spans go: the exporters that ``configure()`` makes, by its arguments and by the standard variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Final

from opentelemetry.sdk.trace.export import SpanExporter

from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.spooling import ENDPOINT_VARIABLES
from otel_runs.export.wanted import Wanted, complain

OUR_NAME: Final = "otel_runs"
"""The name under which ``OTEL_TRACES_EXPORTER`` finds the exporter."""


def exporter_names() -> list[str]:
    """What ``OTEL_TRACES_EXPORTER`` lists."""
    return [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]


def database_exporters(wanted: Wanted, others: list[SpanExporter]) -> list[SpanExporter]:
    """The exporter to the run database, or none where runs are stored elsewhere."""
    if wanted.has_database:
        return _made(OUR_NAME, partial(RunsSpanExporter, wanted.url))
    if not others:
        complain(
            "The run database is 'none' and there is no OTLP endpoint, so no run will be stored anywhere; expected "
            "configure('none', otlp_endpoint='http://localhost:4318') or, where the provider is ours, "
            "OTEL_EXPORTER_OTLP_ENDPOINT. Name an endpoint, or a database."
        )
    return []


def endpoint_exporters(wanted: Wanted) -> list[SpanExporter]:
    """The exporter to the endpoint that is named here, if one is."""
    return _made("otlp", partial(_otlp_exporter, wanted)) if wanted.otlp_endpoint else []


def other_exporters(wanted: Wanted) -> list[SpanExporter]:
    """What the provider we set up exports to besides the database, by argument or the standard variables."""
    given = exporter_names()
    names = [name for name in given if name not in (OUR_NAME, "none")]
    has_endpoint_variable = any(os.environ.get(name) for name in ENDPOINT_VARIABLES)
    if "otlp" not in names and (wanted.otlp_endpoint or (has_endpoint_variable and not given)):
        names.append("otlp")
    return [
        exporter
        for name in names
        for exporter in _made(name, partial(_otlp_exporter, wanted) if name == "otlp" else _factory_by_name(name))
    ]


def _made(name: str, make: Callable[[], SpanExporter] | None) -> list[SpanExporter]:
    """One exporter, or none where it cannot be made: what is wrong with one must not cost the others their spans."""
    if make is None:
        return []
    try:
        return [make()]
    except Exception as exc:  # noqa: BLE001  whatever an exporter of others raises at a variable that it cannot read
        complain(
            f"The exporter {name!r} cannot be used: {type(exc).__name__}: {exc}. Nothing goes to it, the others are "
            "not affected; look at the arguments of configure() and the variables OTEL_EXPORTER_*.",
            exc,
        )
        return []


def _otlp_exporter(wanted: Wanted) -> SpanExporter:
    """To the endpoint; with a spool where no database has the same spans."""
    # Imported here: protobuf, which who has no endpoint does not need.
    if wanted.has_database:
        from otel_runs.export.otlp import otlp_exporter

        return otlp_exporter(wanted.otlp_endpoint)
    from otel_runs.export.spooled import spooled_otlp_exporter

    return spooled_otlp_exporter(wanted.otlp_endpoint)


def _factory_by_name(name: str) -> Callable[[], SpanExporter] | None:
    from importlib.metadata import entry_points  # ten milliseconds, for who names an exporter of others

    for entry_point in entry_points(group="opentelemetry_traces_exporter", name=name):
        return lambda: entry_point.load()()  # noqa: PLW0108  loading it may fail, too: not before it is called
    complain(
        f"OTEL_TRACES_EXPORTER names {name!r}, which no installed package provides; expected otel_runs, otlp, console "
        "or the name of an installed exporter."
    )
    return None
