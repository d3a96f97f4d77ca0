"""How the C library keeps memory that was freed, in a process that is the server's own.

For glibc. Other C libraries have nothing to set, and nothing here does anything.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Source: glibc, malloc.h; mallopt(3)."""

_LARGE: Final = 131_072
"""Bytes; where glibc begins, too. But it raises it to the size of what is freed, up to 32 MiB."""


def keep_little() -> None:
    """Give back what was freed, to the kernel or at least to all threads. Call it before there are threads.

    Large pieces come from the kernel one by one and go back to it. By default glibc takes the next ones from its heap
    once such a piece was freed, and the heap keeps holes of their size: with it, the process that receives twenty
    requests of 10,000 spans at a time for two workers holds 20 MB more.

    And there is one heap. By default glibc makes up to eight a core, each for a few threads, and each keeps what its
    largest moment took: gRPC's threads read messages into theirs, from which Python copies them into another. That
    process held another 20 MB more so (bench/receivers.py).
    """
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)


def give_back() -> None:
    """Give the holes in the heap back to the kernel: after something large was freed that was made of small pieces.

    It takes a millisecond.
    """
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _function(name: str) -> Callable[..., Any] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
