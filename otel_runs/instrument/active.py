"""What is current: the tracer, the handle of the innermost run or step, and the context they travel in."""

from __future__ import annotations

import contextvars
import os
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context, attach, create_key, detach, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    NoOpTracer,
    NoOpTracerProvider,
    ProxyTracerProvider,
    get_tracer_provider,
    set_span_in_context,
)

from otel_runs.settings import DB

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

    from otel_runs.instrument.handles import Handle, RunHandle, StepHandle

HANDLE_KEY: Final = create_key("otel_runs-handle")
"""Where a Context holds the handle of the innermost run or step."""
SPAN_KEY: Final = next(iter(set_span_in_context(INVALID_SPAN, Context())))
"""Where a Context holds its span. Read off the API, which keeps the name private: with it one new Context can hold span
and handle, where two calls would make two."""

_latest: tuple[TracerProvider | None, Tracer | None] = (None, None)


def find_tracer() -> Tracer | None:
    """The tracer that spans are made with, or None while nothing listens.

    A provider that is set (or replaced) later is followed: asking for the provider costs 0.1 us, for a tracer 5 us.
    """
    provider = get_tracer_provider()
    known, tracer = _latest
    return tracer if known is provider else _look_up(provider)


def _look_up(provider: TracerProvider) -> Tracer | None:
    global _latest  # noqa: PLW0603  one tuple, swapped at once: safe without a lock
    if _latest[0] is None:  # the first run or step of the process
        provider = _provider_of_environment() or provider
    elif isinstance(provider, ProxyTracerProvider):  # another thread may have set one up since the caller asked
        provider = get_tracer_provider()
    tracer = None
    if not isinstance(provider, (ProxyTracerProvider, NoOpTracerProvider)):
        from otel_runs import __version__

        tracer = provider.get_tracer("otel_runs", __version__)
        if isinstance(tracer, NoOpTracer):  # OTEL_SDK_DISABLED
            tracer = None
    _latest = (provider, tracer)
    return tracer


def _provider_of_environment() -> TracerProvider | None:
    """The provider after ``configure()``, if environment variables may ask for it; then it decides."""
    if not os.environ.get(DB.env) and "otel_runs" not in os.environ.get("OTEL_TRACES_EXPORTER", ""):
        return None  # without importing the SDK, which takes 100 ms
    from otel_runs.export.configure import configure_from_environment

    configure_from_environment()
    return get_tracer_provider()


def current_handle() -> Handle | None:
    """The handle of the innermost run or step around the caller, if one is being recorded."""
    return get_current().get(HANDLE_KEY)  # type: ignore[return-value]  # a Context holds objects; this key holds handles


def current_run() -> RunHandle | None:
    """The innermost run around the caller; None outside of a run, and while no tracer provider is set."""
    handle = current_handle()
    return None if handle is None else handle.run


def current_step() -> StepHandle | None:
    """The innermost step around the caller within its run; None where there is none."""
    handle = current_handle()
    return None if handle is None else handle.step


def restore(token: object, attached: Context) -> None:
    """Make the context current again that was so before ``attached`` was attached.

    Not by OTel's ``detach``: it logs an error where the end comes in another ``contextvars.Context`` than the
    beginning. That is no error of the user's: asyncio closes a forgotten coroutine or asynchronous generator that way.

    Args:
        token: what ``attach`` returned.
        attached: what was attached.
    """
    if not isinstance(token, contextvars.Token):  # another runtime context, by OTEL_PYTHON_CONTEXT
        detach(token)  # type: ignore[arg-type]  # whatever it is, it came from attach
        return
    try:
        token.var.reset(token)
    except ValueError:
        if get_current() is attached:
            attach(token.old_value if isinstance(token.old_value, Context) else Context())
