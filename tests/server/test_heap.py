"""What the C library keeps of freed memory in the server's process."""

from __future__ import annotations

import ctypes
import sys

import pytest

from tests.programs import Programs

HAS_HEAPS = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_info")

ONE_HEAP = """
import ctypes, sys, threading
from otel_runs.receiver.heap import keep_little

if sys.argv[1] == "little":
    keep_little()
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


LARGE_PIECES = """
import ctypes, sys
from otel_runs.receiver.heap import keep_little

if sys.argv[1] == "little":
    keep_little()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free(ctypes.c_void_p(libc.malloc(1_000_000)))

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd".split()]
    _fields_ += [("others", ctypes.c_size_t * 5)]

libc.mallinfo2.restype = Info
before = libc.mallinfo2().hblkhd
libc.malloc(1_000_000)
print(libc.mallinfo2().hblkhd - before >= 1_000_000)
"""

HOLES = """
import ctypes
from pathlib import Path
from otel_runs.receiver.heap import give_back

def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.memset.restype = ctypes.c_void_p
pieces = [libc.malloc(60_000) for _ in range(1_000)]
for piece in pieces:
    libc.memset(ctypes.c_void_p(piece), 1, 60_000)
top = libc.malloc(60_000)
for piece in pieces:
    libc.free(ctypes.c_void_p(piece))
before = resident()
give_back()
print(before - resident() > 50_000_000)
"""


@pytest.mark.skipif(not HAS_HEAPS, reason="this C library does not say what heaps it has")
def test_threads_take_memory_from_one_heap(programs: Programs) -> None:
    shared, alone = (programs.python(ONE_HEAP, how).stdout.count("<heap nr=") for how in ("little", "alone"))
    assert (shared, alone > 1) == (1, True)


@pytest.mark.skipif(not HAS_HEAPS, reason="this C library does not say what heaps it has")
def test_a_large_piece_comes_from_the_kernel_also_after_one_was_freed(programs: Programs) -> None:
    kernel = [programs.python(LARGE_PIECES, how).stdout.strip() for how in ("little", "as it is")]
    assert kernel == ["True", "False"]


@pytest.mark.skipif(not HAS_HEAPS, reason="this C library does not say what heaps it has")
def test_holes_are_given_back_to_the_kernel(programs: Programs) -> None:
    assert programs.python(HOLES).stdout.strip() == "True"
