"""What goes up and down while something else happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

SECONDS = 0.1
"""Between two looks."""


@contextmanager
def sampled(look: Callable[[], T]) -> Iterator[list[T]]:
    """Look again and again, from a thread, and at least once; the list grows by what each look returns."""
    found: list[T] = []
    is_over = threading.Event()

    def watch() -> None:
        while True:
            found.append(look())
            if is_over.wait(SECONDS):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()
