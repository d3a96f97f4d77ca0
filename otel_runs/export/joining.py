"""Joining the tracer provider that is set, or setting one up: what ``configure()`` does for one set of wishes."""

from __future__ import annotations

import logging
import os
from typing import cast

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from otel_runs.errors import SettingsError
from otel_runs.export.destinations import database_exporters, endpoint_exporters, other_exporters
from otel_runs.export.processor import RunsSpanProcessor
from otel_runs.export.provider import new_provider
from otel_runs.export.setup import Joinable, Setup
from otel_runs.export.spooling import is_same_database
from otel_runs.export.takeover import can_be_relieved, exporter_of, processors_that_store_runs, relieve
from otel_runs.export.wanted import Wanted, complain, complain_if_late, shown
from otel_runs.store.folder import settled_url

logger = logging.getLogger(__name__)


def set_up(wanted: Wanted) -> Setup:
    """As is wanted, with the provider that is set, or one of ours.

    Raises:
        SettingsError: as ``complain``.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):  # nobody has set one
        return _set_up_provider(wanted)
    if isinstance(provider, Joinable):
        return _join(provider, wanted)
    complain(
        f"The tracer provider that is set, {type(provider).__qualname__}, has no add_span_processor, so no run will be "
        "stored; expected an SDK TracerProvider. Call otel_runs.configure() before it is set, or set an SDK one."
    )
    return Setup(provider, (), wanted)


def set_up_again(before: Setup, wanted: Wanted) -> Setup:
    """In the place of a set-up; without wishes, as that one.

    Raises:
        SettingsError: as ``complain``.
    """
    before.leave()
    provider = trace.get_tracer_provider()
    if not any(wanted):
        wanted = before.wanted._replace(url=before.wanted.url or before.database)
    if provider is before.provider and before.is_ours:
        complain_if_late(wanted._replace(**_names_that_stay(before.wanted, wanted)))
        return _set_up_around(before.provider, wanted)
    return set_up(wanted)


def _names_that_stay(before: Wanted, wanted: Wanted) -> dict[str, None]:
    """What the resource of our provider says already."""
    names = ("service_name", "environment")
    return {name: None for name in names if getattr(before, name) == getattr(wanted, name)}


def extend(setup: Setup, provider: Joinable) -> None:
    """Store the spans of one more provider in the same way, and not twice where that stores them there already."""
    found = [each for each in processors_that_store_runs(provider) if can_be_relieved(each)]
    setup.extend_to(provider)
    for each in found:
        if setup.database is not None and _is_same_place(setup.database, exporter_of(each).url):
            setup.also_flush([relieve(provider, each)])


def _set_up_provider(wanted: Wanted) -> Setup:
    provider = new_provider(wanted)
    setup = _set_up_around(provider, wanted)
    trace.set_tracer_provider(provider)
    return setup


def _set_up_around(provider: trace.TracerProvider, wanted: Wanted) -> Setup:
    """With a provider of ours: the standard variables count."""
    others = other_exporters(wanted)
    exporters = [*database_exporters(wanted, others), *others]
    setup = Setup(provider, _queues(exporters), wanted, is_ours=True)
    setup.extend_to(cast("Joinable", provider))
    return setup


def _join(provider: trace.TracerProvider, wanted: Wanted) -> Setup:
    """Join a provider of somebody else's; where that stores runs already, our queue takes its exporter over."""
    complain_if_late(wanted)
    others = endpoint_exporters(wanted)
    found = processors_that_store_runs(provider)
    relievable = [each for each in found if can_be_relieved(each) and wanted.has_database]
    exporters = [exporter_of(each) for each in relievable]
    if not found or not _is_stored_by(found, wanted):
        exporters += database_exporters(wanted, others)
    setup = Setup(provider, _queues([*exporters, *others]), wanted)
    setup.extend_to(cast("Joinable", provider))
    # After that: a span that ends meanwhile is better stored twice, which leaves one row, than not at all.
    setup.also_flush(relieve(provider, each) if each in relievable else each for each in found)
    for each in found:
        if each not in relievable and wanted.has_database:
            logger.warning(
                "The tracer provider stores runs by a %s of its own, which stays in its place: there are no live rows, "
                "and no spans that are not sampled. Leave it out, and configure() stores runs by a queue of its own.",
                type(each).__qualname__,
            )
    return setup


def _is_stored_by(processors: list[SpanProcessor], wanted: Wanted) -> bool:
    """Whether these store runs in the database that is asked for, if any is."""
    asked = wanted.database
    if asked is None or not wanted.has_database:
        return True
    known = [exporter_of(each).url for each in processors]
    if any(_is_same_place(asked, url) for url in known):
        return True
    logger.warning(
        "The tracer provider stores runs in %s, and otel_runs.configure() is to store them in %s: they go to both. "
        "Name one database, or leave one of the two out.",
        ", ".join(shown(os.fspath(url or settled_url())) for url in known),
        shown(settled_url(asked)),
    )
    return False


def _is_same_place(asked: str, url: str | os.PathLike[str] | None) -> bool:
    try:
        return is_same_database(asked, url)
    except SettingsError:
        return True  # it depends on a working directory that cannot be read; told by the export


def _queues(exporters: list[SpanExporter]) -> tuple[RunsSpanProcessor, ...]:
    return tuple(RunsSpanProcessor(exporter) for exporter in exporters)
