"""Recording functions of a module without touching its code: they are wrapped as soon as it is imported.

The function ``instrument`` is loaded with the package; everything it needs is loaded when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from otel_runs.instrument.rules import Rule, RuleKind

_awaited: dict[str, None] = {}
"""Modules that were named and have not been imported yet."""


def instrument(
    module: str,
    *,
    run: str | Sequence[str] = (),
    steps: str | Sequence[str] = (),
    models: str | Sequence[str] = (),
) -> None:
    """Record functions of a module as if they were decorated: ``instrument("shop.pipeline", steps=["load_*"])``.

    They are wrapped when the module is imported, or at once if it has been. In the second case a function that somebody
    imported by name before stays as it was; so call this first. What the code decorates itself is left alone.

    Args:
        module: its full name.
        run: names or patterns (``fnmatch``) of functions that are runs. ``Class.method`` names a method.
        steps: the same for steps.
        models: the same for models.

    A pattern that fits nothing is logged, with the names there are.
    """
    from otel_runs.instrument.rules import Rule

    install(Rule(module, _tuple(run), _tuple(models), _tuple(steps)))


def tell_unmatched(rule: Rule, names: Sequence[str]) -> None:
    """Log the patterns of a rule that fit none of the names there are."""
    from otel_runs.instrument.problems import problem

    for pattern, message in unmatched(rule, names):
        problem(f"{rule.module}:{pattern}", message)


def install(rule: Rule, *, tell: bool = True, found: Callable[[Rule, Sequence[str]], object] = tell_unmatched) -> None:
    """Apply a rule when its module is imported, or now.

    Args:
        rule: what to record of one module.
        tell: log at exit if the module was never imported.
        found: called with the names of the functions that there are.
    """
    import sys

    from wrapt import register_post_import_hook

    if tell and rule.module not in sys.modules:
        _await(rule.module)

    def apply_rule(module: ModuleType) -> None:
        _awaited.pop(rule.module, None)
        found(rule, apply(module, rule))

    register_post_import_hook(apply_rule, rule.module)


def apply(module: ModuleType, rule: Rule) -> list[str]:
    """Wrap the functions of a module that a rule names. What is wrapped already is left alone.

    Returns:
        The names of all its functions.
    """
    from otel_runs.instrument.problems import problem

    places = list(_functions(module))
    for place in places:
        kind = rule.kind_of(place.name)
        if kind is not None:
            try:
                setattr(place.owner, place.attribute, by_rule(kind)(place.function))
            except Exception as exc:  # noqa: BLE001  a class that takes no attributes; the import must not fail by it
                about = f"{rule.module}:{place.name}"
                problem(about, f"{about} cannot be recorded: {exc!r}.", exc)
    return [place.name for place in places]


def unmatched(rule: Rule, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The patterns of a rule that fit none of the names there are, each with a message that says so."""
    from otel_runs.instrument.rules import fits

    for _, pattern in rule.patterns():
        if not any(fits(pattern, name) for name in names):
            message = (
                f"No function of module {rule.module} fits {pattern!r}, so none is recorded by it. "
                f"It has: {', '.join(names) or 'none'}."
            )
            yield pattern, message


def by_rule(kind: RuleKind) -> Callable[[Any], Any]:
    """The decorator that a rule applies."""
    from otel_runs.instrument import declare

    declared = getattr(declare, kind)()
    declared.by_rule = True
    return cast("Callable[[Any], Any]", declared)


class _Place(NamedTuple):
    """Where a function is kept."""

    name: str
    owner: object
    attribute: str
    function: Any


def _functions(module: ModuleType) -> Iterator[_Place]:
    """The functions that the module defines, and the methods of the classes that it defines."""
    for name, value in list(vars(module).items()):
        # By its type first: an object may do what it likes when it is asked for an attribute (lazy settings, proxies).
        if not issubclass(type(value), (FunctionType, type)) or value.__module__ != module.__name__:
            continue
        if isinstance(value, FunctionType):
            yield _Place(name, module, name, value)
        else:
            for attribute, member in list(vars(value).items()):
                if isinstance(member, (FunctionType, staticmethod, classmethod)):
                    yield _Place(f"{name}.{attribute}", value, attribute, member)


def _tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _await(module: str) -> None:
    import atexit

    if not _awaited:
        atexit.register(_tell_awaited)
    _awaited[module] = None


def _tell_awaited() -> None:
    import logging

    while _awaited:
        module, _ = _awaited.popitem()
        logging.getLogger("otel_runs").warning(
            "Module %s was never imported, so nothing of it was recorded. Is its name right?", module
        )
