"""Numbers of things, in words for people."""

from __future__ import annotations


def many(number: int, one: str, more: str = "") -> str:
    """A number of things: ``1 run`` or ``1,200 runs``.

    Args:
        number: of them.
        one: what a single one is called, and what it does: ``span waits``.
        more: the same of several, ``spans wait``, where an s at the end is not enough.
    """
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
