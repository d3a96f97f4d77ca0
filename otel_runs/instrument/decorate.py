"""Wrapping what is decorated: a function, coroutine, generator or asynchronous generator.

Each kind has a wrapper of its own kind, so that ``inspect.iscoroutinefunction`` and its like give the same answers as
before, and frameworks that ask them work on.
"""

from __future__ import annotations

import atexit
import inspect
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial, wraps
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.trace import get_tracer_provider

from otel_runs.errors import InstrumentError
from otel_runs.instrument.endings import UNFINISHED, Ending, Skip
from otel_runs.instrument.measure import count_rows
from otel_runs.instrument.paths import DECLARED

if TYPE_CHECKING:
    from otel_runs.instrument.declaration import Declaration
    from otel_runs.instrument.handles import Handle


def decorate(declared: Declaration[Any], function: Any) -> Any:
    """The function, recorded as declared.

    Raises:
        InstrumentError: it is no function, or a generator that is to be retried.
    """
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(decorate(declared, function.__func__))
    if isinstance(function, type) or not callable(function):
        msg = f"{declared.name}: {function!r} cannot be decorated; expected a function or method."
        raise InstrumentError(msg)
    known = getattr(function, DECLARED, None)
    if known is not None and declared.by_rule:
        return function
    if known is not None and known.by_rule and known.wrapper is function:
        function = inspect.unwrap(function, stop=lambda inner: inner is not function)
    own = declared.for_function(function)
    if isinstance(function, (FunctionType, MethodType, BuiltinFunctionType)):
        own.wrapper = _wrapper(own, function)
        setattr(own.wrapper, DECLARED, own)
    else:
        from otel_runs.instrument.objects import Recorded

        own.wrapper = Recorded(function, partial(_wrapper, own), own)
    return own.wrapper


def _wrapper(declared: Declaration[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    called = _called(function)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        if declared.retry is not None:
            msg = (
                f"{declared.name}: a generator cannot be retried, because what it has yielded is out already. "
                "Retry what consumes it."
            )
            raise InstrumentError(msg)
        if inspect.isgeneratorfunction(called):
            return _generator_wrapper(declared, function)
        return _async_generator_wrapper(declared, function)
    if inspect.iscoroutinefunction(called):
        return _coroutine_wrapper(declared, function)
    return _function_wrapper(declared, function)


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """What tells of which kind a call is: of an object that can be called, its method."""
    is_plain = isinstance(function, (FunctionType, MethodType, BuiltinFunctionType, partial))
    return function if is_plain else type(function).__call__


def _function_wrapper(declared: Declaration[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    retry = declared.retry

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _call(declared, function, args, kwargs, None)

    if retry is None:
        return call

    @wraps(function)
    def call_again(*args: Any, **kwargs: Any) -> Any:
        for attempt in range(1, retry.retries + 1):
            try:
                return _call(declared, function, args, kwargs, attempt)
            except retry.on:
                seconds = retry.seconds_after(attempt)
            time.sleep(seconds)
        return _call(declared, function, args, kwargs, retry.retries + 1)

    return call_again


def _call(
    declared: Declaration[Any],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    attempt: int | None,
) -> Any:
    handle = declared.open(attempt)
    try:
        if declared.rows_in is not None:
            declared.read_arguments(handle, args, kwargs)
        result = function(*args, **kwargs)
        if declared.result_rows:
            declared.read_result(handle, result)
    except BaseException as exc:
        if handle.finish(exc):
            return None
        raise
    handle.finish()
    return result


def _coroutine_wrapper(
    declared: Declaration[Any], function: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    retry = declared.retry

    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await _await(declared, function, args, kwargs, None)

    if retry is None:
        return call

    @wraps(function)
    async def call_again(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        for attempt in range(1, retry.retries + 1):
            try:
                return await _await(declared, function, args, kwargs, attempt)
            except retry.on:
                seconds = retry.seconds_after(attempt)
            await asyncio.sleep(seconds)
        return await _await(declared, function, args, kwargs, retry.retries + 1)

    return call_again


async def _await(
    declared: Declaration[Any],
    function: Callable[..., Awaitable[Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    attempt: int | None,
) -> Any:
    handle = declared.open(attempt)
    try:
        if declared.rows_in is not None:
            declared.read_arguments(handle, args, kwargs)
        result = await function(*args, **kwargs)
        if declared.result_rows:
            declared.read_result(handle, result)
    except BaseException as exc:
        if handle.finish(exc):
            return None
        raise
    handle.finish()
    return result


class _Opened:
    """A generator's span, current only while the generator's own frame runs.

    Between two items the consumer runs, and its spans are none of the generator's. So each resumption enters and leaves
    again, which also keeps generators apart that are consumed in turns.
    """

    def __init__(self, declared: Declaration[Any]) -> None:
        self.declared = declared
        self.handle: Handle = declared.start()
        self.yielded = 0
        if _ended_before is not get_tracer_provider():
            end_generators_first()
        _open_generators.add(self.handle)

    def __enter__(self) -> None:
        self.handle.enter()

    def __exit__(self, *_: object) -> None:
        self.handle.leave()

    def end(self, exc: BaseException | None = None, result: object = None) -> bool:
        """End the span, with the number of items where rows are counted.

        Returns:
            Whether ``exc`` is a skip, which ends here.
        """
        try:
            _open_generators.remove(self.handle)
        except KeyError:  # ended as the process ends, or the parent's
            return isinstance(exc, Skip)
        counted = {name: self.yielded for name, reader in self.declared.result_rows.items() if reader is count_rows}
        if counted:
            self.handle.record(**cast("dict[str, Any]", counted))
        if exc is None:
            self.declared.read_result(self.handle, result, counted)
        return self.handle.end(exc)


_open_generators: Final[set[Handle]] = set()
_ended_before: object = None
"""The tracer provider at whose end, at the exit, all generators have been ended."""


def end_generators_first() -> None:
    """At the exit, end what generators have open before what is registered already ends: the way to the database."""
    # Once a set-up, not once a generator: before Python 3.14 atexit keeps the place of what is unregistered, for ever.
    global _ended_before  # noqa: PLW0603  a process has one tracer provider
    _ended_before = get_tracer_provider()
    atexit.unregister(_end_open_generators)
    atexit.register(_end_open_generators)


def _end_open_generators() -> None:
    """End what nobody will: a generator that is still held when the process ends is never closed."""
    while _open_generators:
        _open_generators.pop().end(ending=Ending("cancelled", UNFINISHED))


if hasattr(os, "register_at_fork"):
    # They are the parent's, and so is their end.
    os.register_at_fork(after_in_child=_open_generators.clear)


def _generator_wrapper(
    declared: Declaration[Any], function: Callable[..., Generator[Any, Any, Any]]
) -> Callable[..., Generator[Any, Any, Any]]:
    @wraps(function)
    def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        opened = _Opened(declared)
        declared.read_arguments(opened.handle, args, kwargs)
        try:
            result = yield from _resumed(opened, function(*args, **kwargs))
        except BaseException as exc:
            if opened.end(exc):
                return None
            raise
        opened.end(None, result)
        return result

    return generate


def _resumed(opened: _Opened, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """What ``yield from generator`` does, with the span current while the generator runs (PEP 380)."""
    resume: Callable[[], Any] = generator.__next__
    while True:
        try:
            with opened:
                item = resume()
        except StopIteration as stop:
            return stop.value
        opened.yielded += 1
        try:
            sent = yield item
        except GeneratorExit:
            with opened:
                generator.close()
            raise
        except BaseException as exc:  # noqa: BLE001  the generator is to have it, whatever it is
            resume = partial(generator.throw, exc)
        else:
            resume = generator.__next__ if sent is None else partial(generator.send, sent)


def _async_generator_wrapper(
    declared: Declaration[Any], function: Callable[..., AsyncGenerator[Any, Any]]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    @wraps(function)
    async def generate(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        opened = _Opened(declared)
        declared.read_arguments(opened.handle, args, kwargs)
        generator = function(*args, **kwargs)
        resume: Callable[[], Awaitable[Any]] = generator.__anext__
        try:
            while True:
                try:
                    with opened:
                        item = await resume()
                except StopAsyncIteration:
                    break
                opened.yielded += 1
                try:
                    sent = yield item
                except GeneratorExit:
                    with opened:
                        await generator.aclose()
                    raise
                except BaseException as exc:  # noqa: BLE001  the generator is to have it, whatever it is
                    resume = partial(generator.athrow, exc)
                else:
                    resume = generator.__anext__ if sent is None else partial(generator.asend, sent)
        except BaseException as exc:
            if not opened.end(exc):
                raise
        else:
            opened.end()

    return generate
