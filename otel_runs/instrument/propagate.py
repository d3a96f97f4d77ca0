"""Context goes where the work goes: into threads, process pools and subprocesses.

Between processes it travels as the W3C headers (or what ``OTEL_PROPAGATORS`` says), under the names that the
specification gives them in an environment: ``TRACEPARENT``, ``TRACESTATE``, ``BAGGAGE``.
Source: opentelemetry.io/docs/specs/otel/context/env-carriers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache, update_wrapper
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Final, Generic, ParamSpec, TypeVar

from opentelemetry.context import Context, attach, get_current
from opentelemetry.propagate import extract, get_global_textmap, inject

from otel_runs.errors import InstrumentError
from otel_runs.instrument.active import restore

P = ParamSpec("P")
R = TypeVar("R")

_NOT_IN_NAMES: Final = re.compile(r"[^A-Z0-9_]")


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """The function, bound to the current run and step: whichever thread or process calls it, its steps land there.

    ``pool.submit(carry(load), table)``, ``Thread(target=carry(load))``, ``pool.map(carry(load), tables)``: for the
    executors of ``concurrent.futures`` and for ``multiprocessing``, forked or spawned. A process of a pool needs a
    tracer provider of its own, for instance by ``initializer=otel_runs.configure``.

    Args:
        function: for a pool of processes it must be one that can be pickled: defined at the top of a module.

    Raises:
        InstrumentError: it is a coroutine function or a generator function, whose code runs after the call.
    """
    if iscoroutinefunction(function):
        msg = (
            f"carry() got {function!r}, a coroutine function; expected a plain function. A task has the context of "
            "the code that creates it."
        )
        raise InstrumentError(msg)
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        msg = (
            f"carry() got {function!r}, a generator function, whose code runs where it is consumed; expected a plain "
            "function. Carry what consumes it."
        )
        raise InstrumentError(msg)
    return _Carried(function, get_current())


def child_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a subprocess whose runs and steps belong below the current step.

    ``subprocess.run(command, env=child_environment())``. The whole environment, because ``env=`` replaces all of it.

    Args:
        base: what it is made from; ``os.environ`` if nothing is said. It is not changed.
    """
    environment = dict(os.environ if base is None else base)
    headers: dict[str, str] = {}
    inject(headers)
    if headers:
        for field in get_global_textmap().fields:
            environment.pop(_variable(field), None)
        environment.update({_variable(name): value for name, value in headers.items()})
    return environment


def from_environment(context: Context) -> Context:
    """The context, with the parent that the process was started below.

    The variables are read once a process: what is set later is meant for children.

    Args:
        context: one without a span.
    """
    carrier = _started_with()
    return extract(carrier, context) if carrier else context


@cache
def _started_with() -> dict[str, str]:
    """The headers that the environment held."""
    fields = get_global_textmap().fields
    return {field: os.environ[_variable(field)] for field in fields if os.environ.get(_variable(field))}


class _Carried(Generic[P, R]):
    """A function and the context it is to run in. Pickled, the context is reduced to its headers."""

    def __init__(self, function: Callable[P, R], context: Context) -> None:
        update_wrapper(self, function)
        self._function = function
        self._context = context

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        token = attach(self._context)
        try:
            return self._function(*args, **kwargs)
        finally:
            restore(token, self._context)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        headers: dict[str, str] = {}
        inject(headers, self._context)
        return _carried_from_headers, (self._function, headers)


def _carried_from_headers(function: Callable[P, R], headers: dict[str, str]) -> Callable[P, R]:
    return _Carried(function, extract(headers, get_current()))


def _variable(field: str) -> str:
    return _NOT_IN_NAMES.sub("_", field.upper())
