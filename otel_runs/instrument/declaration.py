"""One declaration: a decorator, and a context manager that gives a handle.

What a declaration says is turned into attributes once, when it is made; a call only adds what changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from opentelemetry.context import get_current

from otel_runs.attributes import ATTEMPT, CONFIG_HASH, INPUT_FINGERPRINT, KIND, MODEL_CONTENT_HASH, MODEL_PATH, RUN_KEY
from otel_runs.errors import InstrumentError
from otel_runs.instrument.active import HANDLE_KEY, SPAN_KEY, current_handle, find_tracer
from otel_runs.instrument.handles import IDLE_RUN, IDLE_STEP, Handle, RunHandle, StepHandle
from otel_runs.instrument.identity import code_identity, config_hash, fingerprint, source_hash
from otel_runs.instrument.measure import Value, count_rows_of_arguments, metadata_attributes, row_reader
from otel_runs.instrument.options import ATTRIBUTE_OF_OPTION, CHECK_OF_OPTION, Retry, retry_from_options
from otel_runs.instrument.paths import path_of, qualified_name
from otel_runs.instrument.place import stamps_below
from otel_runs.instrument.problems import problem

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.trace import Tracer

    from otel_runs.instrument.identity import Input

F = TypeVar("F", bound="Callable[..., Any] | staticmethod[..., Any] | classmethod[Any, ..., Any]")
"""What is decorated, and what comes out. The type itself, not a ParamSpec and a result: it keeps overloads, type
variables and descriptors, too. A skipped step returns None whatever its type says."""
H = TypeVar("H", RunHandle, StepHandle)

_RESULT_ROWS: Final = ("rows_out", "rows_affected")


class Declaration(Generic[H]):
    """What ``run``, ``step`` or ``model`` says: a decorator, and a context manager that gives a handle."""

    def __init__(self, handle_type: type[H], kind: str, name: str | None, options: Mapping[str, Any]) -> None:
        self.name = name or kind
        self.by_rule = False
        """Declared by ``instrument`` or on the command line, not in the code; what the code says wins."""
        self.attributes: dict[str, Value] = {KIND: kind}
        self.rows_in: Callable[..., object] | None = None
        self.result_rows: dict[str, Callable[..., object]] = {}
        self.retry: Retry | None = None
        self._handle_type: type[H] = handle_type
        self._named = name is not None
        self._config: Mapping[str, object] | None = None
        self._inputs: Input | Sequence[Input] | None = None
        self._unhashed: Callable[..., object] | None = None
        self.wrapper: object = None
        self._open: list[Handle] = []
        if options:
            self._read(options)

    def __call__(self, function: F) -> F:
        """Decorate a function, coroutine, generator, asynchronous generator, method, static or class method."""
        from otel_runs.instrument.decorate import decorate

        return cast("F", decorate(self, function))

    def __enter__(self) -> H:
        if self.retry is not None or self.rows_in is not None or self.result_rows:
            problem(
                f"{self.name}: with",
                f"{self.name}: retries, rows_in, rows_out and rows_affected are read off a function's call; a with "
                "block has none. Decorate a function, or call record().",
            )
        handle = self.open()
        self._open.append(handle)
        return handle

    # ``bool | None``, not ``bool``: type checkers take the latter to swallow any exception, and then ask what a
    # function returns below each of its with blocks. Only a skip ends here.
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        # Several blocks may share one declaration, in recursion, threads and tasks: this one ends what is current here.
        handle = current_handle()
        if handle in self._open:
            self._open.remove(handle)
        else:  # a block that ends in another context than it began, or nothing is recorded
            handle = self._open.pop()
        return handle.finish(exc)

    async def __aenter__(self) -> H:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self.__exit__(exc_type, exc, traceback)

    def open(self, attempt: int | None = None) -> H:
        """Start a span and make it current."""
        handle = self.start(attempt)
        handle.enter()
        return handle

    def start(self, attempt: int | None = None) -> H:
        """Start a span below the current one, without making it current.

        Args:
            attempt: which try this is, if a decorator counts them.
        """
        try:
            tracer = find_tracer()
            return self._idle() if tracer is None else self._start(tracer, attempt)
        except InstrumentError:
            raise
        except Exception as failure:  # noqa: BLE001  telemetry never breaks the pipeline
            problem(f"{self.name}: start", f"{self.name}: its span could not be started: {failure!r}.", failure)
            return self._idle()

    def for_function(self, function: Callable[..., Any]) -> Declaration[H]:
        """The same for one function, named after it where nothing else is said."""
        declaration = copy(self)
        declaration._open = []  # noqa: SLF001  a copy of ourselves
        declaration.attributes = {**self.attributes, MODEL_PATH: self.attributes.get(MODEL_PATH) or path_of(function)}
        if not self._named:
            declaration.name = qualified_name(function).rpartition("<locals>.")[2]
        if self.attributes[KIND] == "model" and MODEL_CONTENT_HASH not in self.attributes:
            declaration._unhashed = function  # noqa: SLF001  a copy of ourselves
        if self.rows_in is not None:
            declaration.rows_in = _without_self(self.rows_in, function)
        return declaration

    def read_arguments(self, handle: Handle, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Read rows_in off the arguments of a call."""
        if self.rows_in is not None and handle.span.is_recording():
            self._report(handle, "rows_in", partial(self.rows_in, *args, **kwargs))

    def read_result(self, handle: Handle, result: object, known: Collection[str] = ()) -> None:
        """Read rows_out and rows_affected, but those that are known otherwise, off the result of a call."""
        if handle.span.is_recording():
            for name, reader in self.result_rows.items():
                if name not in known:
                    self._report(handle, name, partial(reader, result))

    def _idle(self) -> H:
        return cast("H", IDLE_RUN if self._handle_type is RunHandle else IDLE_STEP)

    def _start(self, tracer: Tracer, attempt: int | None) -> H:
        before = get_current()
        parent = before.get(SPAN_KEY)
        if parent is None:
            from otel_runs.instrument.propagate import from_environment

            before = from_environment(before)
            parent = before.get(SPAN_KEY)
        # Not by cast(), which is a call.
        outer: Handle | None = before.get(HANDLE_KEY)  # type: ignore[assignment]  # this key holds handles
        attributes = self.attributes
        if parent is not None and RUN_KEY not in attributes:
            stamps = outer.stamps if outer is not None and outer.span is parent else stamps_below(cast("Any", parent))
            attributes = {**attributes, **stamps}
        if attempt is not None:
            attributes = {**attributes, ATTEMPT: attempt}
        if self._unhashed is not None:
            attributes = {**attributes, **self._content_hash(self._unhashed)}
        if self._handle_type is RunHandle:
            attributes = {**attributes, **self._run_identity()}
        span = tracer.start_span(self.name, before, attributes=attributes)
        return self._handle_type(self.name, span, before, outer, attributes)

    def _content_hash(self, function: Callable[..., Any]) -> dict[str, Value]:
        self._unhashed = None
        found = source_hash(function)
        if found is None:
            return {}
        self.attributes[MODEL_CONTENT_HASH] = found
        return {MODEL_CONTENT_HASH: found}

    def _run_identity(self) -> dict[str, Value]:
        found: dict[str, Value] = dict(code_identity())
        try:
            if self._config is not None:
                found[CONFIG_HASH] = config_hash(self._config)
            if self._inputs is not None:
                found[INPUT_FINGERPRINT] = fingerprint(self._inputs)
        except (OSError, TypeError, ValueError) as exc:
            problem(f"{self.name}: identity", f"{self.name}: config or inputs could not be hashed: {exc}.", exc)
        return found

    def _report(self, handle: Handle, name: str, read: Callable[[], object]) -> None:
        try:
            value = read()
        except Exception as exc:  # noqa: BLE001  the reader is the user's, and telemetry never breaks the pipeline
            problem(f"{self.name}: {name}", f"{self.name}: {name} could not be read: {exc!r}.", exc)
        else:
            handle.record(**cast("dict[str, Any]", {name: value}))  # which checks it

    def _read(self, options: Mapping[str, Any]) -> None:
        """Turn options into what calls need.

        Raises:
            InstrumentError: an option has a value that it cannot have.
        """
        for name, value in options.items():
            try:
                if value is None:
                    continue
                if name in ATTRIBUTE_OF_OPTION:
                    attribute, written = ATTRIBUTE_OF_OPTION[name]
                    if (text := written(value)) is not None:
                        self.attributes[attribute] = text
                elif name in _RESULT_ROWS:
                    self.result_rows[name] = row_reader(value)
                elif name == "rows_in":
                    self.rows_in = count_rows_of_arguments if value == "len" else row_reader(value)
                elif name == "metadata":
                    self.attributes.update(metadata_attributes(self.name, value))
                elif name in CHECK_OF_OPTION:
                    CHECK_OF_OPTION[name](value)
            except (TypeError, ValueError) as exc:
                msg = f"{self.name}: option {name} {exc}."
                raise InstrumentError(msg) from exc
        self._config = options.get("config")
        self._inputs = options.get("inputs")
        self.retry = retry_from_options(options)


def _without_self(reader: Callable[..., object], function: Callable[..., Any]) -> Callable[..., object]:
    """A reader of arguments that does not see the object or class a method belongs to."""
    from inspect import unwrap

    names = getattr(getattr(unwrap(function), "__code__", None), "co_varnames", ())
    if isinstance(function, MethodType) or not names or names[0] not in {"self", "cls"}:
        return reader
    return lambda _self, *args, **kwargs: reader(*args, **kwargs)
