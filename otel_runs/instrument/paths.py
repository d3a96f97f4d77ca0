"""The path of the model that a function is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import WrapperDescriptorType
from typing import Any, Final

from otel_runs.attributes import MODEL_PATH
from otel_runs.instrument.identity import program_name

DECLARED: Final = "__otel_runs__"
"""The attribute by which a decorated function knows its declaration."""


def path_of(function: Callable[..., Any]) -> str:
    """The path of the model that a function is: as declared, else its module and name."""
    declared = getattr(function, DECLARED, None)
    if declared is not None:
        return str(declared.attributes[MODEL_PATH])
    function = _without_partials(function)
    module = getattr(function, "__module__", None) or "__main__"
    if module in {"__main__", "__mp_main__"}:  # the latter: the script again, in a process of multiprocessing
        module = program_name(getattr(_code_of(function), "__globals__", {}))
    return f"{module}.{qualified_name(function).replace('.<locals>', '')}"


def qualified_name(function: Callable[..., Any]) -> str:
    """The name of a function with those of the classes and functions around it."""
    function = _without_partials(function)
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def _without_partials(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a ``functools.partial`` calls."""
    while isinstance(function, partial):
        function = function.func
    return function


def _code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """What was written: below what others have wrapped around it, and in the class of an object that can be called."""
    while not hasattr(function, "__globals__"):
        inside = getattr(function, "__wrapped__", None) or type(function).__call__
        if isinstance(inside, WrapperDescriptorType):  # it is written in C
            break
        function = inside
    return function
