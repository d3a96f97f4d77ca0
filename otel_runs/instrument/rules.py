"""Rules: which functions of which module are recorded as what, without a word in their code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, NamedTuple, cast

from otel_runs.errors import InstrumentError

RuleKind = Literal["run", "model", "step"]

_EXAMPLE: Final = "expected MODULE:PATTERN, for instance 'shop.pipeline:load_*' or 'shop.pipeline:Loader.load'"


class Rule(NamedTuple):
    """What to record of one module. Patterns are those of ``fnmatch``, case counts."""

    module: str
    runs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def patterns(self) -> Iterator[tuple[RuleKind, str]]:
        """Every pattern with what it makes; the first that fits a name decides."""
        kinds: tuple[tuple[RuleKind, tuple[str, ...]], ...] = (
            ("run", self.runs),
            ("model", self.models),
            ("step", self.steps),
        )
        for kind, patterns in kinds:
            for pattern in patterns:
                yield kind, pattern

    def kind_of(self, name: str) -> RuleKind | None:
        """What the function of that name (``load`` or ``Loader.load``) is recorded as, if at all."""
        return next((kind for kind, pattern in self.patterns() if fits(pattern, name)), None)


def fits(pattern: str, name: str) -> bool:
    """Whether a pattern fits a name.

    As with files in a shell, ``*`` does not go beyond a dot (``*`` means functions, ``*.*`` methods) and does not find
    what begins with an underscore, unless the pattern does, too.
    """
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(
        fnmatchcase(part, want) and (want.startswith("_") or not part.startswith("_"))
        for part, want in zip(parts, wanted, strict=True)
    )


def parse_target(text: str) -> tuple[str, str]:
    """Module and pattern from ``package.module:pattern``, as the command line has them.

    Raises:
        InstrumentError: it is not of that form.
    """
    module, colon, pattern = text.partition(":")
    if not colon or not pattern or not all(part.isidentifier() for part in module.split(".")):
        msg = f"Target {text!r} names no functions; {_EXAMPLE}."
        raise InstrumentError(msg)
    return module, pattern


def rules_from_targets(
    runs: Sequence[str] = (), models: Sequence[str] = (), steps: Sequence[str] = ()
) -> tuple[Rule, ...]:
    """One rule a module, from targets such as ``shop.pipeline:load_*``.

    Raises:
        InstrumentError: a target is not of that form.
    """
    rules: dict[str, Rule] = {}
    for field, targets in (("runs", runs), ("models", models), ("steps", steps)):
        for target in targets:
            module, pattern = parse_target(target)
            rule = rules.get(module, Rule(module))
            rules[module] = rule._replace(**cast("dict[str, Any]", {field: (*getattr(rule, field), pattern)}))
    return tuple(rules.values())
