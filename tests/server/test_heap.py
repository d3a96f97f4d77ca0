"""The C library's heaps in the server's process."""

from __future__ import annotations

import ctypes
import sys

import pytest

from tests.programs import Programs

HAS_HEAPS = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_info")

PROGRAM = """
import ctypes, sys, threading
from otel_runs.server.heap import share_one_heap

if sys.argv[1] == "shared":
    share_one_heap()
libc = ctypes.CDLL(None)
libc.fdopen.restype = libc.malloc.restype = ctypes.c_void_p
are_here = threading.Barrier(4)

def take():
    are_here.wait(30)
    libc.malloc(10_000)
    are_here.wait(30)

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(not HAS_HEAPS, reason="this C library does not say what heaps it has")
def test_threads_take_memory_from_one_heap(programs: Programs) -> None:
    shared, alone = (programs.python(PROGRAM, how).stdout.count("<heap nr=") for how in ("shared", "alone"))
    assert (shared, alone > 1) == (1, True)
