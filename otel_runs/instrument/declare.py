"""``run``, ``step`` and ``model``: one name each, for decorators and ``with`` blocks.

What a declaration says is turned into attributes once, when it is made; a call only adds what changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypedDict, TypeVar, cast, overload

from opentelemetry.context import get_current

from otel_runs.attributes import (
    ATTEMPT,
    BACKGROUND,
    CONFIG_HASH,
    ENVIRONMENT,
    INPUT_FINGERPRINT,
    KIND,
    MODEL_CONTENT_HASH,
    MODEL_DEPENDS_ON,
    MODEL_MATERIALIZED,
    MODEL_OWNER,
    MODEL_PATH,
    MODEL_SCHEMA,
    MODEL_TAGS,
    RUN_ID,
    RUN_KEY,
    SESSION_ID,
    TENANT_ID,
)
from otel_runs.errors import InstrumentError
from otel_runs.instrument.active import HANDLE_KEY, SPAN_KEY, current_handle, find_tracer
from otel_runs.instrument.handles import IDLE_RUN, IDLE_STEP, Handle, RunHandle, StepHandle
from otel_runs.instrument.identity import code_identity, config_hash, fingerprint, program_name, source_hash
from otel_runs.instrument.measure import (
    RowReader,
    Value,
    as_count,
    count_rows_of_arguments,
    metadata_attributes,
    row_reader,
)
from otel_runs.instrument.place import stamps_below
from otel_runs.instrument.problems import problem
from otel_runs.records import KINDS, Kind

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from opentelemetry.trace import Tracer

    from otel_runs.instrument.identity import Input

F = TypeVar("F", bound="Callable[..., Any] | staticmethod[..., Any] | classmethod[Any, ..., Any]")
"""What is decorated, and what comes out. The type itself, not a ParamSpec and a result: it keeps overloads, type
variables and descriptors, too. A skipped step returns None whatever its type says."""
H = TypeVar("H", RunHandle, StepHandle)

DECLARED: Final = "__otel_runs__"
"""The attribute by which a decorated function knows its declaration."""

Backoff = float | Callable[[int], float]
"""Seconds before the next try, or a function from the number of the try that failed to these."""


class StepOptions(TypedDict, total=False):
    """Options of ``step`` and ``model``."""

    kind: Kind
    """What the step is; ``step`` if nothing is said."""
    path: str
    """The path of the model that is executed; by default module and name of the function."""
    depends_on: Sequence[str | Callable[..., object]]
    """The models this one reads: paths, or the decorated functions themselves."""
    materialized: str
    """``table``, ``view``, ``incremental`` or a word of your own."""
    tags: Sequence[str]
    owner: str
    schema_name: str
    content_hash: str
    """Of a ``model``, by default the sha256 of the function's source."""
    environment: str
    attempt: int
    """Which try this is, from 1; for those who retry by themselves."""
    retries: int
    """How many more times a function is tried when it fails; each try is a span of its own."""
    retry_on: type[Exception] | tuple[type[Exception], ...]
    """Exceptions after which it is tried again; by default any ``Exception``."""
    backoff: Backoff
    """Seconds before the next try (0), or a function from the number of the try that failed to seconds."""
    rows_in: RowReader
    """``"len"``: of the first argument that has rows; or a function that gets the arguments."""
    rows_out: RowReader
    """``"len"``: of the result, or the items that a generator yields; or a function that gets the result."""
    rows_affected: RowReader
    """``"len"``: of the result, for instance a cursor; or a function that gets the result."""
    metadata: Mapping[str, object]


class RunOptions(TypedDict, total=False):
    """Options of ``run``."""

    key: str
    """Joins the traces and processes that give the same key into one run."""
    id: str
    """An id of your own, up to 64 characters; kept in ``runs.external_id``."""
    path: str
    """The path of the model that is executed; by default module and name of the function."""
    environment: str
    tenant_id: str
    session_id: str
    background: bool
    """Nobody waits for this run."""
    config: Mapping[str, object]
    """What the run is configured with; kept as ``config_hash``, the sha256 of its canonical JSON."""
    inputs: Input | Sequence[Input]
    """Files, folders or bytes that the run reads; kept as ``input_fingerprint``, the sha256 of their content."""
    fingerprint: str
    """The ``input_fingerprint`` itself, where you have one."""
    rows_in: RowReader
    rows_out: RowReader
    rows_affected: RowReader
    metadata: Mapping[str, object]


class Retry(NamedTuple):
    """When and how often a function is tried again."""

    retries: int
    on: tuple[type[Exception], ...]
    backoff: Backoff

    def seconds_after(self, attempt: int) -> float:
        """Seconds to wait after a try that failed."""
        return self.backoff(attempt) if callable(self.backoff) else self.backoff


def _kind(value: str) -> str:
    if value not in KINDS:
        msg = f"is {value!r}; expected one of {', '.join(KINDS)}"
        raise ValueError(msg)
    return value


def _texts(value: Iterable[object]) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


def _paths(value: Iterable[object]) -> list[str]:
    return [value] if isinstance(value, str) else [path_of(item) if callable(item) else str(item) for item in value]


_ATTRIBUTES: Final[dict[str, tuple[str, Callable[[Any], Value]]]] = {
    "path": (MODEL_PATH, str),
    "depends_on": (MODEL_DEPENDS_ON, _paths),
    "materialized": (MODEL_MATERIALIZED, str),
    "tags": (MODEL_TAGS, _texts),
    "owner": (MODEL_OWNER, str),
    "schema_name": (MODEL_SCHEMA, str),
    "content_hash": (MODEL_CONTENT_HASH, str),
    "kind": (KIND, _kind),
    "attempt": (ATTEMPT, as_count),
    "environment": (ENVIRONMENT, str),
    "key": (RUN_KEY, str),
    "id": (RUN_ID, str),
    "tenant_id": (TENANT_ID, str),
    "session_id": (SESSION_ID, str),
    "background": (BACKGROUND, bool),
    "fingerprint": (INPUT_FINGERPRINT, str),
}
"""Options that become one attribute: name -> attribute, and how the value is written (a UUID as text)."""

_STEP_OPTIONS: Final = frozenset(StepOptions.__annotations__)
_RUN_OPTIONS: Final = frozenset(RunOptions.__annotations__)
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
            declaration.name = _qualname(function).rpartition("<locals>.")[2]
        if self.attributes[KIND] == "model" and MODEL_CONTENT_HASH not in self.attributes:
            declaration._unhashed = function  # noqa: SLF001  a copy of ourselves
        if self.rows_in is not None:
            declaration.rows_in = _without_self(self.rows_in, function)
        return declaration

    def read_arguments(self, handle: Handle, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Read rows_in off the arguments of a call."""
        if self.rows_in is not None and handle.span.is_recording():
            self._report(handle, "rows_in", partial(self.rows_in, *args, **kwargs))

    def read_result(self, handle: Handle, result: object) -> None:
        """Read rows_out and rows_affected off the result of a call."""
        if handle.span.is_recording():
            for name, reader in self.result_rows.items():
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
        outer = cast("Handle | None", before.get(HANDLE_KEY))
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
        return self._handle_type(self.name, span, before, outer)

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
                if name in _ATTRIBUTES:
                    attribute, written = _ATTRIBUTES[name]
                    self.attributes[attribute] = written(value)
                elif name in _RESULT_ROWS:
                    self.result_rows[name] = row_reader(value)
            except (TypeError, ValueError) as exc:
                msg = f"{self.name}: option {name} {exc}."
                raise InstrumentError(msg) from exc
        rows_in = options.get("rows_in")
        if rows_in is not None:
            self.rows_in = count_rows_of_arguments if rows_in == "len" else row_reader(rows_in)
        self.attributes.update(metadata_attributes(options.get("metadata") or {}))
        self._config = options.get("config")
        self._inputs = options.get("inputs")
        if options.get("retries"):
            on = options.get("retry_on", Exception)
            self.retry = Retry(
                as_count(options["retries"]), on if isinstance(on, tuple) else (on,), options.get("backoff", 0.0)
            )


def path_of(function: Callable[..., Any]) -> str:
    """The path of the model that a function is: as declared, else its module and name."""
    declared = getattr(function, DECLARED, None)
    if isinstance(declared, Declaration):
        return str(declared.attributes[MODEL_PATH])
    module = getattr(function, "__module__", None) or "__main__"
    if module in {"__main__", "__mp_main__"}:  # the latter: the script again, in a process of multiprocessing
        module = program_name(getattr(function, "__globals__", {}))
    return f"{module}.{_qualname(function).replace('.<locals>', '')}"


def _qualname(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _without_self(reader: Callable[..., object], function: Callable[..., Any]) -> Callable[..., object]:
    """A reader of arguments that does not see the object or class a method belongs to."""
    names = getattr(getattr(function, "__code__", None), "co_varnames", ())
    if not names or names[0] not in {"self", "cls"}:
        return reader
    return lambda _self, *args, **kwargs: reader(*args, **kwargs)


def _declare(handle_type: type[H], kind: str, name: object, options: Mapping[str, Any], known: frozenset[str]) -> Any:
    unknown = options.keys() - known
    if unknown:
        msg = f"{kind}() has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        raise TypeError(msg)
    if name is None or isinstance(name, str):
        return Declaration(handle_type, kind, name, options)
    return Declaration(handle_type, kind, None, options)(cast("Callable[..., Any]", name))


@overload
def run(name: F, /) -> F: ...
@overload
def run(name: str | None = None, **options: Unpack[RunOptions]) -> Declaration[RunHandle]: ...
def run(name: object = None, **options: Any) -> Any:
    """Record one execution of a pipeline.

    As ``@run``, ``@run("nightly", key=...)`` or ``with run("nightly") as r:``.


    A run inside a run is nested in it. What its code, configuration and input were is recorded with it: the git commit
    by itself, the others by ``config`` and ``inputs``.

    Args:
        name: the run's name; by default that of the function.
        options: see RunOptions.

    Raises:
        InstrumentError: an option has a value that it cannot have, or what is decorated is no function.
        TypeError: there is no such option.
    """
    return _declare(RunHandle, "run", name, options, _RUN_OPTIONS)


@overload
def step(name: F, /) -> F: ...
@overload
def step(name: str | None = None, **options: Unpack[StepOptions]) -> Declaration[StepHandle]: ...
def step(name: object = None, **options: Any) -> Any:
    """Record one step of a run.

    As ``@step``, ``@step(rows_out="len")`` or ``with step("load") as s:``.


    Args:
        name: the step's name; by default that of the function.
        options: see StepOptions.

    Raises:
        InstrumentError: an option has a value that it cannot have, or what is decorated is no function.
        TypeError: there is no such option.
    """
    return _declare(StepHandle, "step", name, options, _STEP_OPTIONS)


@overload
def model(name: F, /) -> F: ...
@overload
def model(name: str | None = None, **options: Unpack[StepOptions]) -> Declaration[StepHandle]: ...
def model(name: object = None, **options: Any) -> Any:
    """Record a step that builds a model, a table for instance: like ``step``, and with the hash of its source.

    Args:
        name: the step's name; by default that of the function.
        options: see StepOptions; ``path``, ``depends_on``, ``materialized`` and ``owner`` are meant for models.

    Raises:
        InstrumentError: an option has a value that it cannot have, or what is decorated is no function.
        TypeError: there is no such option.
    """
    return _declare(StepHandle, "model", name, options, _STEP_OPTIONS)
