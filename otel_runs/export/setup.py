"""Setting up: from ``configure()``, or from environment variables alone, to a provider whose spans are stored."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast, runtime_checkable

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from otel_runs import attributes, settings
from otel_runs.errors import SettingsError
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.id_generator import TimeOrderedIdGenerator
from otel_runs.export.lifecycle import LifecycleProcessor
from otel_runs.export.open_spans import OpenSpans
from otel_runs.export.processor import RunsSpanProcessor, flush_timeout
from otel_runs.export.sampling import record_unsampled
from otel_runs.export.signals import SignalWatch
from otel_runs.export.spooling import ENDPOINT_VARIABLES, is_same_database
from otel_runs.export.takeover import can_be_relieved, exporter_of, processors_that_store_runs, relieve, replace
from otel_runs.settings import is_strict
from otel_runs.store.folder import NO_DATABASE, settled_url

logger = logging.getLogger(__name__)

OUR_NAME: Final = "otel_runs"
"""The name under which ``OTEL_TRACES_EXPORTER`` finds the exporter."""
MAX_ATTRIBUTES: Final = 10_000
"""Of a span; the SDK's own limit is 128."""
_ATTRIBUTE_LIMITS: Final = ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT")


@runtime_checkable
class Joinable(Protocol):
    """A tracer provider that takes processors: the SDK's, or one that wraps it."""

    def add_span_processor(self, span_processor: Any) -> None:  # a SpanProcessor, by inheritance or by shape
        """Let the processor see every span."""


class Setup:
    """What ``configure()`` has set up. There is one a process."""

    def __init__(
        self,
        provider: trace.TracerProvider,
        processors: tuple[RunsSpanProcessor, ...],
        wanted: Wanted,
        *,
        is_ours: bool = False,
    ) -> None:
        """Hold a provider, which may be ours, and the queues that its spans go to."""
        self.provider = provider
        self.wanted = wanted
        self.is_ours = is_ours
        self.open_spans = OpenSpans()
        self.signals = SignalWatch(self.open_spans, self._export_at_signal)
        self._processors = processors
        self._also_flushed: tuple[SpanProcessor, ...] = ()
        self._joined: list[tuple[Joinable, LifecycleProcessor]] = []
        self._is_shut_down = False

    def extend_to(self, provider: Joinable) -> None:
        """Store the spans of one more provider in the same way."""
        lifecycle = LifecycleProcessor(self.open_spans)
        self._joined.append((provider, lifecycle))
        for processor in (lifecycle, *self._processors):
            provider.add_span_processor(processor)
        if any(getattr(processor.span_exporter, "takes_unsampled", False) for processor in self._processors):
            record_unsampled(provider)

    def also_flush(self, processors: Iterable[SpanProcessor]) -> None:
        """Have ``flush()`` and ``shutdown()`` wait for processors of others, too, which store runs."""
        self._also_flushed = tuple(processors)

    @property
    def is_shut_down(self) -> bool:
        """Whether it stores nothing any more: it was shut down, or a provider that it has joined was."""
        return self._is_shut_down or any(lifecycle.is_shut_down for _, lifecycle in self._joined)

    def reaches(self, provider: object) -> bool:
        """Whether the spans of a provider are stored, as far as it can be joined."""
        return provider is self.provider or any(joined is provider for joined, _ in self._joined)

    @property
    def database(self) -> str | None:
        """Where runs are stored in this process, if they are."""
        exporters = (processor.span_exporter for processor in self._processors)
        urls = (exporter.url for exporter in exporters if isinstance(exporter, RunsSpanExporter))
        return next((os.fspath(url) for url in urls if url is not None), None)

    def leave(self) -> None:
        """Shut down, and let the providers forget this set-up: another one takes its place."""
        if not self._is_shut_down:
            self.shutdown()
        atexit.unregister(self.shutdown)
        for provider, lifecycle in self._joined:
            for processor in (lifecycle, *self._processors):
                replace(provider, processor)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all spans that have ended so far are exported.

        Args:
            timeout: seconds, at most, for all exporters together; without it ``OTEL_RUNS_FLUSH_TIMEOUT``.

        Returns:
            False if the time ran out. Whether everything was stored is in ``otel_runs.stats()``.
        """
        wanted = flush_timeout() if timeout is None else timeout
        deadline = time.monotonic() + min(wanted, threading.TIMEOUT_MAX)
        is_done = True
        for processor in (*self._also_flushed, *self._processors):
            left = max(0.0, deadline - time.monotonic())
            is_done = processor.force_flush(round(left * 1000)) is not False and is_done
        return is_done

    def shutdown(self) -> None:
        """Export what is left within ``OTEL_RUNS_FLUSH_TIMEOUT``, all exporters at once; later spans are not stored.

        Runs by itself at exit. May be called twice.
        """
        self._is_shut_down = True
        self.signals.start_closing()
        try:
            self._close(flush_timeout())
        finally:
            self.signals.stop()

    def _export_at_signal(self, timeout: float) -> None:
        # Closed only if time runs out, which then tells what is left: other threads still end spans until the last.
        if not self.flush(timeout * 0.8):
            self._close(timeout * 0.1)

    def _close(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for relieved in self._also_flushed:
            relieved.force_flush(round(timeout * 1000))
        for processor in self._processors:
            processor.start_shutdown()
        for processor in self._processors:
            processor.finish_shutdown(deadline)


class Wanted(NamedTuple):
    """The arguments of one call of ``configure()``; None: no wish."""

    url: str | None
    otlp_endpoint: str | None
    service_name: str | None
    environment: str | None


_lock = threading.RLock()
"""Held while a set-up is made. Its own thread may come again: an exporter of others, as it is made, may run a step."""
_setup: Setup | None = None
_is_setting_up = False
_has_read_environment = False


def _become_child() -> None:
    """A thread that held the lock is not here."""
    global _lock, _is_setting_up  # noqa: PLW0603  told once, before the child does anything else
    _lock = threading.RLock()
    _is_setting_up = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_become_child)


@contextmanager
def _setting_up() -> Generator[None]:
    """One thread at a time."""
    global _is_setting_up  # noqa: PLW0603  what the lock guards
    with _lock:
        was_setting_up, _is_setting_up = _is_setting_up, True
        try:
            yield
        finally:
            _is_setting_up = was_setting_up


def configure(
    url: str | os.PathLike[str] | None = None,
    *,
    otlp_endpoint: str | None = None,
    service_name: str | None = None,
    environment: str | None = None,
) -> Setup:
    """Store this process's runs: join the tracer provider that is set, or set one up.

    Call it once, early; calling it again the same way, or without arguments, does no harm. After a shutdown it sets up
    again. Nothing is opened yet, so it neither fails nor waits when the database is away.

    Args:
        url: an SQLAlchemy URL or an SQLite file's path; without it ``OTEL_RUNS_DB``, then the default place. ``none``:
            nothing is stored here, and the endpoint below leads to who stores runs.
        otlp_endpoint: where to send the same spans, Jaeger or a Collector, such as ``http://localhost:4318``. What is
            open goes there too, as log records, if it takes them.
            ``OTEL_EXPORTER_OTLP_PROTOCOL`` chooses ``http/protobuf`` (default) or ``grpc``. Where the provider is ours,
            ``OTEL_EXPORTER_OTLP_ENDPOINT`` has the same effect, unless ``OTEL_TRACES_EXPORTER`` leaves ``otlp`` out.
        service_name: what runs are called until their root is known, and what Jaeger lists. Without it the standard
            variables decide (``OTEL_SERVICE_NAME``), then the script's name.
        environment: such as ``production``; the resource attribute ``deployment.environment.name``.

    Returns:
        The one set-up of this process, with ``flush()`` and ``shutdown()``.

    Raises:
        SettingsError: only with ``OTEL_RUNS_STRICT=true``: a second call asks for something else, the provider that is
            set cannot be joined, the service name comes too late, or an exporter or a limit of OpenTelemetry's cannot
            be used as its variables say. Otherwise it is logged, and what can be stored is.
    """
    global _setup  # noqa: PLW0603  a process has one tracer provider, and so one set-up
    wanted = Wanted(None if url is None else os.fspath(url), otlp_endpoint, service_name, environment)
    with _setting_up():
        if _setup is None or not _is_in_force(_setup, wanted):
            _setup = _set_up(wanted) if _setup is None else _set_up_again(_setup, wanted)
            _setup.signals.start()
            atexit.register(_setup.shutdown)
        else:
            _complain_about_changes(_setup.wanted, wanted)
        return _setup


def configure_from_environment() -> None:
    """Configure once, if environment variables ask for it: ``OTEL_RUNS_DB``, or ``OTEL_TRACES_EXPORTER`` naming us.

    Called when the first run or step starts; other threads that start theirs meanwhile wait for it.
    ``OTEL_SDK_DISABLED=true`` and ``OTEL_TRACES_EXPORTER=none`` mean no.
    """
    if not _has_read_environment:
        with _lock:
            _read_environment()


def _read_environment() -> None:
    global _has_read_environment  # noqa: PLW0603  read once a process
    if _has_read_environment or _is_setting_up:  # by another thread meanwhile; or by this one, which comes again
        return
    try:
        if _environment_asks_for_us() and _setup is None:
            configure()
    except Exception:
        if is_strict():
            raise
        logger.exception("The environment asks for otel_runs, which could not be set up; no run will be stored.")
    finally:
        _has_read_environment = True


def _environment_asks_for_us() -> bool:
    names = _exporter_names()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or names == ["none"]:
        return False
    return OUR_NAME in names or bool(os.environ.get(settings.DB.env))


def _exporter_names() -> list[str]:
    return [name.strip() for name in os.environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]


def _set_up(wanted: Wanted) -> Setup:
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):  # nobody has set one
        return _set_up_provider(wanted)
    if isinstance(provider, Joinable):
        return _join(provider, wanted)
    _complain(
        f"The tracer provider that is set, {type(provider).__qualname__}, has no add_span_processor, so no run will be "
        "stored; expected an SDK TracerProvider. Call otel_runs.configure() before it is set, or set an SDK one."
    )
    return Setup(provider, (), wanted)


def _is_in_force(setup: Setup, wanted: Wanted) -> bool:
    """Whether spans are stored by it, those of a provider that has taken the place of the first, too.

    Notebooks and tests do that; OpenTelemetry has no public way.
    """
    if setup.is_shut_down:
        return False
    provider = trace.get_tracer_provider()
    if setup.reaches(provider):
        return True
    if _changes(setup.wanted, wanted) or not isinstance(provider, Joinable):
        return False
    setup.extend_to(provider)
    return True


def _set_up_again(before: Setup, wanted: Wanted) -> Setup:
    """Without arguments as before."""
    before.leave()
    provider = trace.get_tracer_provider()
    if not any(wanted):
        wanted = before.wanted._replace(url=before.wanted.url or before.database)
    if provider is before.provider and before.is_ours:
        _complain_if_late(wanted._replace(**_names_that_stay(before.wanted, wanted)))
        return _set_up_around(before.provider, wanted)
    return _set_up(wanted)


def _names_that_stay(before: Wanted, wanted: Wanted) -> dict[str, None]:
    """What the resource of our provider says already."""
    names = ("service_name", "environment")
    return {name: None for name in names if getattr(before, name) == getattr(wanted, name)}


def _set_up_provider(wanted: Wanted) -> Setup:
    # Not shutdown_on_exit: the SDK waits for one processor after the other, Setup.shutdown for all at once.
    provider = TracerProvider(
        resource=_resource(wanted),
        id_generator=TimeOrderedIdGenerator(),
        shutdown_on_exit=False,
        span_limits=_span_limits(),
    )
    setup = _set_up_around(provider, wanted)
    trace.set_tracer_provider(provider)
    return setup


def _set_up_around(provider: trace.TracerProvider, wanted: Wanted) -> Setup:
    """With a provider of ours: the standard variables count."""
    others = _other_exporters(wanted)
    exporters = [*_database_exporters(wanted, others), *others]
    setup = Setup(provider, _queues(exporters), wanted, is_ours=True)
    setup.extend_to(cast("Joinable", provider))
    return setup


def _span_limits() -> SpanLimits:
    """Of our provider: where nobody has set a number of attributes, so many that ours stay, too.

    The SDK drops the oldest, and what says that a span is a run comes first.
    """
    is_set = any(os.environ.get(name) for name in _ATTRIBUTE_LIMITS)
    try:
        return SpanLimits() if is_set else SpanLimits(max_span_attributes=MAX_ATTRIBUTES)
    except ValueError as exc:
        _complain(f"OpenTelemetry's limits of spans cannot be used: {exc}. None of these variables is read.", exc)
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


def _join(provider: trace.TracerProvider, wanted: Wanted) -> Setup:
    """Join a provider of somebody else's; where that stores runs already, our queue takes its exporter over."""
    _complain_if_late(wanted)
    others = _made("otlp", partial(_otlp_exporter, wanted)) if wanted.otlp_endpoint else []
    found = processors_that_store_runs(provider)
    relievable = [each for each in found if can_be_relieved(each) and _has_database(wanted)]
    exporters = [exporter_of(each) for each in relievable]
    if not found or not _is_stored_by(found, wanted):
        exporters += _database_exporters(wanted, others)
    setup = Setup(provider, _queues([*exporters, *others]), wanted)
    setup.extend_to(cast("Joinable", provider))
    # After that: a span that ends meanwhile is better stored twice, which leaves one row, than not at all.
    setup.also_flush(relieve(provider, each) if each in relievable else each for each in found)
    for each in found:
        if each not in relievable and _has_database(wanted):
            logger.warning(
                "The tracer provider stores runs by a %s of its own, which stays in its place: there are no live rows, "
                "and no spans that are not sampled. Leave it out, and configure() stores runs by a queue of its own.",
                type(each).__qualname__,
            )
    return setup


def _is_stored_by(processors: list[SpanProcessor], wanted: Wanted) -> bool:
    """Whether these store runs in the database that is asked for, if any is."""
    asked = wanted.url or settings.read(settings.DB)
    if asked is None or not _has_database(wanted):
        return True
    known = [exporter_of(each).url for each in processors]
    try:
        if any(is_same_database(asked, url) for url in known):
            return True
    except SettingsError:
        return True  # a place that depends on a working directory that cannot be read; told by the export
    logger.warning(
        "The tracer provider stores runs in %s, and otel_runs.configure() is to store them in %s: they go to both. "
        "Name one database, or leave one of the two out.",
        ", ".join(_shown(os.fspath(url or settled_url())) for url in known),
        _shown(settled_url(asked)),
    )
    return False


def _complain_if_late(wanted: Wanted) -> None:
    if wanted.service_name or wanted.environment:
        _complain(
            f"service_name {wanted.service_name!r} and environment {wanted.environment!r} come too late: the resource "
            "of a tracer provider that is set cannot change. Give them to the provider's Resource, or set "
            "OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=... before."
        )


def _database_exporters(wanted: Wanted, others: list[SpanExporter]) -> list[SpanExporter]:
    """The exporter to the run database, or none where runs are stored elsewhere."""
    if _has_database(wanted):
        return _made(OUR_NAME, partial(RunsSpanExporter, wanted.url))
    if not others:
        _complain(
            "The run database is 'none' and there is no OTLP endpoint, so no run will be stored anywhere; expected "
            "configure('none', otlp_endpoint='http://localhost:4318') or, where the provider is ours, "
            "OTEL_EXPORTER_OTLP_ENDPOINT. Name an endpoint, or a database."
        )
    return []


def _has_database(wanted: Wanted) -> bool:
    return (wanted.url or settings.read(settings.DB)) != NO_DATABASE


def _queues(exporters: list[SpanExporter]) -> tuple[RunsSpanProcessor, ...]:
    return tuple(RunsSpanProcessor(exporter) for exporter in exporters)


def _other_exporters(wanted: Wanted) -> list[SpanExporter]:
    """What the provider we set up exports to besides the database, by argument or the standard variables."""
    given = _exporter_names()
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
        _complain(
            f"The exporter {name!r} cannot be used: {type(exc).__name__}: {exc}. Nothing goes to it, the others are "
            "not affected; look at the arguments of configure() and the variables OTEL_EXPORTER_*.",
            exc,
        )
        return []


def _otlp_exporter(wanted: Wanted) -> SpanExporter:
    """To the endpoint; with a spool where no database has the same spans."""
    # Imported here: protobuf, which who has no endpoint does not need.
    if _has_database(wanted):
        from otel_runs.export.otlp import otlp_exporter

        return otlp_exporter(wanted.otlp_endpoint)
    from otel_runs.export.spooled import spooled_otlp_exporter

    return spooled_otlp_exporter(wanted.otlp_endpoint)


def _factory_by_name(name: str) -> Callable[[], SpanExporter] | None:
    from importlib.metadata import entry_points  # ten milliseconds, for who names an exporter of others

    for entry_point in entry_points(group="opentelemetry_traces_exporter", name=name):
        return lambda: entry_point.load()()  # noqa: PLW0108  loading it may fail, too: not before it is called
    _complain(
        f"OTEL_TRACES_EXPORTER names {name!r}, which no installed package provides; expected otel_runs, otlp, console "
        "or the name of an installed exporter."
    )
    return None


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


def _changes(first: Wanted, wanted: Wanted) -> list[tuple[str, str | None, str]]:
    """What a call asks for otherwise than the first: name, first value, value."""
    return [
        (name, before, value)
        for name, before, value in zip(Wanted._fields, first, wanted, strict=True)
        if value is not None and value != before
    ]


def _complain_about_changes(first: Wanted, wanted: Wanted) -> None:
    changes = _changes(first, wanted)
    if changes:
        told = (f"{name}={_shown(value)} (is {_shown(before)})" for name, before, value in changes)
        _complain(
            f"otel_runs.configure() was called again with {', '.join(told)}; a process is configured once, and the "
            "first call stays in force. Remove one of the calls."
        )


def _shown(value: str | None) -> str:
    """An argument for people: URLs may hold passwords."""
    from otel_runs.store.location import shown  # it loads SQLAlchemy, for this message only

    return repr(value if value is None else shown(value))


def _complain(message: str, cause: Exception | None = None) -> None:
    if is_strict():
        raise SettingsError(message) from cause
    logger.error(message)
