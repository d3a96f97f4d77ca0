"""What objects do in a forked child: forget what is the parent's, and make anew the locks that its threads may hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_resets: Final[WeakKeyDictionary[Any, Callable[[Any], object]]] = WeakKeyDictionary()


def call_in_child(owner: T, reset: Callable[[T], object]) -> None:
    """Have ``reset(owner)`` called in each forked child, in the order of these calls, while the owner lives."""
    _resets[owner] = reset


def _after_fork_in_child() -> None:
    for owner, reset in list(_resets.items()):
        reset(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
