"""What a check has found."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
"""``error``: runs are not recorded, or cannot be read. ``warning``: what is recorded is not all, or not right, or soon
will not be. ``note``: good to know; all is well."""

EXAMPLES: Final = 3
"""How many of many are named."""


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    check: str
    """Which check found it; the same from version to version."""
    severity: Severity
    found: str
    """What is, with its values."""
    means: str
    do: str


def some(names: list[str]) -> str:
    """The first of many, and how many more there are."""
    more = len(names) - EXAMPLES
    return ", ".join(names[:EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")
