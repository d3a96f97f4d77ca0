"""``configure()``, and what stands for it: one set-up a process, made by its code or by its environment alone."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace

from otel_runs import settings
from otel_runs.export.destinations import OUR_NAME, exporter_names
from otel_runs.export.joining import extend, set_up, set_up_again
from otel_runs.export.setup import Joinable, Setup
from otel_runs.export.wanted import Wanted, complain_about_changes
from otel_runs.instrument.decorate import end_generators_first
from otel_runs.settings import is_strict

logger = logging.getLogger(__name__)

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
            _setup = set_up(wanted) if _setup is None else set_up_again(_setup, wanted)
            _setup.signals.start()
            atexit.register(_setup.shutdown)
            end_generators_first()
        else:
            complain_about_changes(_setup.wanted, wanted)
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
    names = exporter_names()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or names == ["none"]:
        return False
    return OUR_NAME in names or bool(os.environ.get(settings.DB.env))


def _is_in_force(setup: Setup, wanted: Wanted) -> bool:
    """Whether spans are stored by it, those of a provider that has taken the place of the first, too.

    Notebooks and tests do that; OpenTelemetry has no public way.
    """
    if setup.is_shut_down:
        return False
    provider = trace.get_tracer_provider()
    if setup.reaches(provider):
        return True
    if setup.wanted.changes(wanted) or not isinstance(provider, Joinable):
        return False
    extend(setup, provider)
    return True
