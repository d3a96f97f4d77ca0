"""The tracer provider that ``configure()`` makes where nobody has set one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from otel_runs import attributes
from otel_runs.export.id_generator import TimeOrderedIdGenerator
from otel_runs.export.wanted import Wanted, complain

MAX_ATTRIBUTES: Final = 10_000
"""Of a span; the SDK's own limit is 128."""
_ATTRIBUTE_LIMITS: Final = ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT")


def new_provider(wanted: Wanted) -> TracerProvider:
    """A provider of ours; nothing exports its spans yet.

    Raises:
        SettingsError: as ``complain``: a variable sets a limit of spans that is none.
    """
    # Not shutdown_on_exit: the SDK waits for one processor after the other, Setup.shutdown for all at once.
    return TracerProvider(
        resource=_resource(wanted),
        id_generator=TimeOrderedIdGenerator(),
        shutdown_on_exit=False,
        span_limits=_span_limits(),
    )


def _span_limits() -> SpanLimits:
    """Of our provider: where nobody has set a number of attributes, so many that ours stay, too.

    The SDK drops the oldest, and what says that a span is a run comes first.
    """
    is_set = any(os.environ.get(name) for name in _ATTRIBUTE_LIMITS)
    try:
        return SpanLimits() if is_set else SpanLimits(max_span_attributes=MAX_ATTRIBUTES)
    except ValueError as exc:
        complain(f"OpenTelemetry's limits of spans cannot be used: {exc}. None of these variables is read.", exc)
    stock, no_limit = 128, SpanLimits.UNSET
    return SpanLimits(
        max_attributes=stock,
        max_events=stock,
        max_links=stock,
        max_span_attributes=MAX_ATTRIBUTES,
        max_event_attributes=stock,
        max_link_attributes=stock,
        max_attribute_length=no_limit,
        max_span_attribute_length=no_limit,
    )


def _resource(wanted: Wanted) -> Resource:
    named = Resource.create({})
    if str(named.attributes.get(attributes.SERVICE_NAME, "")).startswith("unknown_service"):
        named = named.merge(Resource({attributes.SERVICE_NAME: script_name()}))
    given = {
        attributes.SERVICE_NAME: wanted.service_name,
        attributes.ENVIRONMENT: wanted.environment,
    }
    return named.merge(Resource({key: value for key, value in given.items() if value}))


def script_name() -> str:
    """What this program is called: ``pipeline`` for ``python pipeline.py``, ``pkg.load`` for ``python -m pkg.load``."""
    # orig_argv, because argv[0] is "-m" while the module is still looked for, then its file.
    script, options = sys.argv[0] if sys.argv else "", sys.orig_argv[1:]
    if "-m" in options[:-1] and (script == "-m" or script not in options):
        return options[options.index("-m") + 1]
    return Path(script).name.removesuffix(".py") if script not in ("", "-c") else "python"
