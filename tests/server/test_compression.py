"""Bodies are unpacked to their end, within limits of bytes, memory and time."""

from __future__ import annotations

import gzip
import os
import time
import tracemalloc
from collections.abc import Callable

import pytest
import zstandard

from otel_runs.errors import DecodeError, TooLargeError
from otel_runs.receiver.compression import unpacked

LIMIT = 20_000_000
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress}
both = pytest.mark.parametrize("compression", PACKED)


@both
@pytest.mark.parametrize("size", [0, 1, 1_000, 300_000])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_members_of_any_size_are_one_body(compression: str, size: int, count: int) -> None:
    bodies = [os.urandom(size) for _ in range(count)]
    assert unpacked(b"".join(map(PACKED[compression], bodies)), compression, LIMIT) == b"".join(bodies)


@both
def test_as_many_members_as_a_tool_makes_that_compresses_in_parallel_are_one_body(compression: str) -> None:
    assert unpacked(PACKED[compression](b"x" * 10) * 1_024, compression, LIMIT) == b"x" * 10_240


@both
@pytest.mark.parametrize("content", [b"", b"x"])
def test_very_many_members_are_refused_soon(compression: str, content: bytes) -> None:
    """Each could cost a copy of all that follows: of 2 MB that took a minute."""
    body = PACKED[compression](content) * (2_000_000 // len(PACKED[compression](content)))
    start = time.process_time()
    with pytest.raises(
        DecodeError, match=r"\d bytes\) has more than 1024 (gzip members|zstd frames); send it as one\."
    ):
        unpacked(body, compression, LIMIT)
    assert time.process_time() - start < 3


@both
def test_limit_counts_all_members_together(compression: str) -> None:
    packed = PACKED[compression](b"x" * 600)
    assert len(unpacked(packed * 2, compression, 1_200)) == 1_200
    with pytest.raises(TooLargeError, match="larger than 1199 bytes"):
        unpacked(packed * 2, compression, 1_199)


@both
@pytest.mark.parametrize("cut", [1, 9])
def test_last_member_without_its_end_is_refused(compression: str, cut: int) -> None:
    packed = PACKED[compression](b"x" * 600)
    with pytest.raises(DecodeError, match=f"is no complete {compression}"):
        unpacked(packed + packed[:-cut], compression, LIMIT)


@both
def test_unpacking_takes_memory_for_two_of_what_comes_out(compression: str) -> None:
    packed = PACKED[compression](os.urandom(4_000_000).hex().encode())
    tracemalloc.start()
    try:
        unpacked(packed, compression, 8_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * 8_000_000
