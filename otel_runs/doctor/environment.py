"""Variables that contradict each other, mean nothing, or keep runs from being recorded. Nothing else is looked at."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from otel_runs import settings
from otel_runs.doctor import report
from otel_runs.doctor.finding import Finding
from otel_runs.errors import OtelRunsError
from otel_runs.export.spooling import ENDPOINT_VARIABLES
from otel_runs.launch import at_start, orders
from otel_runs.store.folder import NO_DATABASE
from otel_runs.store.location import database_url, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OUR_PREFIX: Final = "OTEL_RUNS_"
OUR_EXPORTER: Final = "otel_runs"
_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_COMPLETE_SAMPLERS: Final = frozenset({"", "always_on", "parentbased_always_on"})
_PROPAGATORS: Final = "OTEL_PROPAGATORS"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HEARTBEATS_MISSED: Final = 3
"""So many heartbeats may be late before a run is called lost."""
_GRPC_PORT: Final = ":4317"
_TESTS_PREFIX: Final = "OTEL_RUNS_TEST_"
_INTERNAL: Final = (at_start.VARIABLE, orders.VARIABLE, report.VARIABLE)


def findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with the variables of this environment; a pipeline may have another."""
    for check in _CHECKS:
        yield from check(environ)


def names_bad_database(environ: Mapping[str, str]) -> bool:
    """Whether ``OTEL_RUNS_DB`` is told of here, so that nobody else need ask for the database."""
    return any(True for _ in _database(environ))


def stores_nothing(environ: Mapping[str, str]) -> bool:
    """Whether pipelines are told to store nothing themselves, but to send spans to the OTLP endpoint only."""
    return environ.get(settings.DB.env) == NO_DATABASE


def _disabled(environ: Mapping[str, str]) -> Iterator[Finding]:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Finding(
            "sdk-disabled",
            "error",
            "OTEL_SDK_DISABLED is true.",
            "OpenTelemetry makes no spans, so no run is recorded.",
            "unset OTEL_SDK_DISABLED",
        )


def _database(environ: Mapping[str, str]) -> Iterator[Finding]:
    given = environ.get(settings.DB.env)
    if not given or stores_nothing(environ):
        return
    try:
        database_url(given)
    except OtelRunsError as exc:
        yield _bad_value(f"{exc}.")


def _unknown(environ: Mapping[str, str]) -> Iterator[Finding]:
    known = [setting.env for setting in settings.SETTINGS]
    for name in sorted(environ):
        if not name.startswith(OUR_PREFIX) or name in known or name in _INTERNAL or name.startswith(_TESTS_PREFIX):
            continue
        near = get_close_matches(name.removeprefix(OUR_PREFIX), [each.removeprefix(OUR_PREFIX) for each in known], 1)
        yield Finding(
            "unknown-setting",
            "warning",
            f"{name} is set, and is no setting of otel_runs.",
            "Nothing reads it.",
            f"Did you mean {OUR_PREFIX}{near[0]}? Else remove it."
            if near
            else "Remove it. The settings: docs/settings.md",
        )


def _values(environ: Mapping[str, str]) -> Iterator[Finding]:
    for setting in settings.SETTINGS:
        try:
            settings.value(setting, environ)
        except OtelRunsError as exc:
            yield _bad_value(str(exc))


def _bad_value(said: str) -> Finding:
    return Finding(
        "bad-value",
        "error",
        said,
        "What reads the setting complains: a pipeline logs it and goes on without us or with the default; a command "
        "ends.",
        "Correct the value, or unset the variable.",
    )


def _nowhere(environ: Mapping[str, str]) -> Iterator[Finding]:
    names = _exporters(environ)
    if names == ["none"] and environ.get(settings.DB.env):
        yield Finding(
            "exporter-none",
            "warning",
            f"{_EXPORTERS} is none, though {settings.DB.env} names a run database.",
            "The environment alone then sets nothing up: runs are recorded only where the program itself calls "
            "otel_runs.configure().",
            f"unset {_EXPORTERS}, or set it to otel_runs",
        )


def _no_way_out(environ: Mapping[str, str]) -> Iterator[Finding]:
    if stores_nothing(environ) and not any(environ.get(name) for name in ENDPOINT_VARIABLES):
        yield Finding(
            "no-way-out",
            "warning",
            f"{settings.DB.env} is none, and no OTLP endpoint is named.",
            "Runs are recorded only by programs that name an endpoint themselves: "
            "configure('none', otlp_endpoint=...).",
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318",
        )


def _impatient(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        heartbeat = settings.value(settings.HEARTBEAT, environ)
        lost_after = settings.value(settings.LOST_AFTER, environ)
    except OtelRunsError:
        return  # told by _values
    if 0 < lost_after < HEARTBEATS_MISSED * heartbeat:
        yield Finding(
            "impatient-reaper",
            "warning",
            f"{settings.LOST_AFTER.env} is {lost_after:g} s, {settings.HEARTBEAT.env} {heartbeat:g} s.",
            f"Fewer than {HEARTBEATS_MISSED} heartbeats need be late, and a run that lives is called lost for a while.",
            f"{settings.LOST_AFTER.env}={6 * heartbeat:g}",
        )


def _missing_exporter(environ: Mapping[str, str]) -> Iterator[Finding]:
    installed = {entry.name for entry in entry_points(group="opentelemetry_traces_exporter")}
    for name in _exporters(environ):
        if name not in installed | {"none"}:
            yield Finding(
                "unknown-exporter",
                "error",
                f"{_EXPORTERS} names {name!r}, which no installed package provides; installed: "
                f"{', '.join(sorted(installed))}.",
                "opentelemetry-instrument then sets up no tracing at all; otel_runs.configure() goes on without it.",
                "Correct the name, or install the package.",
            )


def _two_providers(environ: Mapping[str, str]) -> Iterator[Finding]:
    if OUR_EXPORTER in _exporters(environ) and environ.get("OTEL_PYTHON_TRACER_PROVIDER"):
        yield Finding(
            "two-providers",
            "warning",
            f"OTEL_PYTHON_TRACER_PROVIDER is {environ['OTEL_PYTHON_TRACER_PROVIDER']!r}, and {_EXPORTERS} asks the "
            "SDK's provider for otel_runs.",
            "Spans go to the provider that is named. Whether that one reads the list of exporters is its own affair: "
            "if it does not, no run is recorded.",
            "unset OTEL_PYTHON_TRACER_PROVIDER, or call otel_runs.configure() in the program: it joins a provider that "
            "is set",
        )


def _sampled(environ: Mapping[str, str]) -> Iterator[Finding]:
    sampler = environ.get(_SAMPLER, "").strip()
    if sampler in _COMPLETE_SAMPLERS or OUR_EXPORTER not in _exporters(environ):
        return
    argument = environ.get(f"{_SAMPLER}_ARG")
    yield Finding(
        "sampled-roots",
        "warning",
        f"{_SAMPLER} is {sampler!r}{f' ({argument})' if argument else ''}, and {_EXPORTERS} names otel_runs.",
        "Under opentelemetry-instrument the SDK drops what is sampled out before any exporter sees it: these runs are "
        "not recorded.",
        "Set up by otel_runs.configure() in the program, or sample in the Collector, behind the run tables: "
        "docs/collector.md",
    )


def _no_trace_context(environ: Mapping[str, str]) -> Iterator[Finding]:
    given = environ.get(_PROPAGATORS)
    if given and "tracecontext" not in {name.strip() for name in given.split(",")}:
        yield Finding(
            "no-trace-context",
            "warning",
            f"{_PROPAGATORS} is {given!r}, without tracecontext.",
            "Child processes and services that speak W3C trace context do not learn which run they work for: their "
            "work becomes runs of its own.",
            f"{_PROPAGATORS}=tracecontext,baggage,{given}",
        )


def _wrong_port(environ: Mapping[str, str]) -> Iterator[Finding]:
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    for name in ENDPOINT_VARIABLES:
        endpoint = environ.get(name, "").rstrip("/")
        if protocol != "grpc" and endpoint.endswith(_GRPC_PORT):
            yield Finding(
                "endpoint-protocol",
                "warning",
                f"{name} is {shown(endpoint)!r}, where OTLP over gRPC is served by convention, but the protocol is "
                f"{protocol}.",
                "Spans are sent over HTTP to a port that expects gRPC, and none arrives.",
                "Set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or name port 4318.",
            )


def _exporters(environ: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in environ.get(_EXPORTERS, "").split(",") if name.strip()]


_CHECKS: Final[tuple[Callable[[Mapping[str, str]], Iterator[Finding]], ...]] = (
    _disabled,
    _database,
    _unknown,
    _values,
    _nowhere,
    _no_way_out,
    _impatient,
    _missing_exporter,
    _two_providers,
    _sampled,
    _no_trace_context,
    _wrong_port,
)
