"""A stream that decompresses zstd, and tells when it ends too early: the package's own takes that for the end."""

from __future__ import annotations

import io
from typing import BinaryIO, Final

import zstandard

_CHUNK: Final = 1024
"""Bytes decompressed at once. Zeros become 32,000 times as many: 32 MB."""


class ZstdStream(io.RawIOBase):
    """What a stream of one or more zstd frames holds.

    Args:
        stream: compressed.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """As files have it."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands over
        """Fill a part of the buffer.

        Raises:
            EOFError: the stream ends inside a frame.
            ZstdError: it is damaged.
        """
        while not self._ready:
            self._compressed = self._compressed or self._stream.read(_CHUNK)
            if not self._compressed:
                if self._frame is None:
                    return 0
                msg = "the compressed data ends before its end mark"
                raise EOFError(msg)
            self._ready = memoryview(self._next())
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _next(self) -> bytes:
        frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        found = frame.decompress(self._compressed)
        self._compressed = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame
        return found
