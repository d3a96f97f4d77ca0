"""The path of the model that a function is."""

from __future__ import annotations

from collections.abc import Callable
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
    module = getattr(function, "__module__", None) or "__main__"
    if module in {"__main__", "__mp_main__"}:  # the latter: the script again, in a process of multiprocessing
        module = program_name(getattr(function, "__globals__", {}))
    return f"{module}.{qualified_name(function).replace('.<locals>', '')}"


def qualified_name(function: Callable[..., Any]) -> str:
    """The name of a function with those of the classes and functions around it."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
