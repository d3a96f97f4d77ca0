"""The server's own metrics, sent where OpenTelemetry's variables say; nowhere by default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from otel_runs import attributes
from otel_runs.errors import SettingsError

if TYPE_CHECKING:  # the SDK takes memory, and most servers export no metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

_VARIABLE: Final = "OTEL_METRICS_EXPORTER"
_GROUP: Final = "opentelemetry_metrics_exporter"
_SERVICE: Final = "otel-runs"


def start_own_metrics(environ: Mapping[str, str] = os.environ) -> MeterProvider | None:
    """Set the process's meter provider as ``OTEL_METRICS_EXPORTER`` says.

    OpenTelemetry's default, ``otlp``, is not ours: 127.0.0.1:4317 is the server itself, which takes no metrics.

    Returns:
        The provider, to be shut down at the end; None if no exporter is named, or somebody has set a provider.

    Raises:
        SettingsError: no installed package provides the exporter.
    """
    names = [name.strip() for name in environ.get(_VARIABLE, "").split(",")]
    names = [name for name in names if name not in {"", "none"}]
    if not names:
        return None
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    if isinstance(metrics.get_meter_provider(), MeterProvider):
        return None
    provider = MeterProvider([_reader(_exporter(name, environ)) for name in names], _resource())
    metrics.set_meter_provider(provider)
    return provider


def _exporter(name: str, environ: Mapping[str, str]) -> Any:
    """An exporter, or a reader (Prometheus), as its package provides it."""
    protocol = environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    entry = name
    if name == "otlp":
        entry = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    for found in entry_points(group=_GROUP, name=entry):
        return found.load()()
    msg = (
        f"{_VARIABLE} names {name!r}, which no installed package provides; expected otlp, console, none or the name "
        "of an installed exporter"
    )
    raise SettingsError(msg)


def _reader(exporter: Any) -> MetricReader:
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    return exporter if isinstance(exporter, MetricReader) else PeriodicExportingMetricReader(exporter)


def _resource() -> Resource:
    from opentelemetry.sdk.resources import Resource

    named = Resource.create({})
    is_named = not str(named.attributes.get(attributes.SERVICE_NAME, "")).startswith("unknown_service")
    return named if is_named else named.merge(Resource({attributes.SERVICE_NAME: _SERVICE}))
