"""How the C library keeps memory that was freed, in a process that is the server's own."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_ARENA_MAX: Final = -8
"""Source: glibc, malloc.h; mallopt(3)."""


def share_one_heap() -> None:
    """Let all threads take memory from one heap, where what one has freed is there for the others.

    By default glibc makes up to eight heaps a core, and each keeps what its largest moment took: gRPC's threads read
    messages into theirs, from which Python copies them into another. The process that receives twenty requests of
    10,000 spans at a time, with two workers, took up to 154 MB so, and takes 132 (bench/receivers.py). Other C
    libraries have nothing to set.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
