"""``run``, ``step`` and ``model``: one name each, for decorators and ``with`` blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast, overload

from otel_runs.instrument.declaration import Declaration, F, H
from otel_runs.instrument.handles import RunHandle, StepHandle
from otel_runs.instrument.options import RunOptions, StepOptions

if TYPE_CHECKING:
    from typing import Unpack

_STEP_OPTIONS: Final = frozenset(StepOptions.__annotations__)
_RUN_OPTIONS: Final = frozenset(RunOptions.__annotations__)


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


def _declare(handle_type: type[H], kind: str, name: object, options: Mapping[str, Any], known: frozenset[str]) -> Any:
    unknown = options.keys() - known
    if unknown:
        msg = f"{kind}() has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        raise TypeError(msg)
    if name is None or isinstance(name, str):
        return Declaration(handle_type, kind, name, options)
    return Declaration(handle_type, kind, None, options)(cast("Callable[..., Any]", name))
