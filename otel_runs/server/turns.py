"""Turns at a database that takes one writer at a time."""

from __future__ import annotations

import fcntl
import os
from typing import Self


class Turns:
    """One transaction at a time, between processes. A process that ends, however, lets its turn go.

    SQLite has a lock of its own, but whoever waits for it sleeps and looks again, up to a tenth of a second later;
    two writers that take turns all the time then mostly sleep.

    Args:
        path: of an empty file. Each process opens it for itself: what is opened once and inherited is one lock.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
