"""A compressed stream: all that can be decompressed comes before what is wrong with the rest is told."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import BinaryIO, Final, Protocol

_CHUNK: Final = 1024
"""Bytes decompressed at once: of zstd, zeros become 32,000 times as many. What is damaged costs no more than these."""
_GZIP: Final = zlib.MAX_WBITS | 16


class Part(Protocol):
    """A member of gzip or a frame of zstd."""

    @property
    def eof(self) -> bool:
        """Whether its end has come."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came behind its end."""
        ...

    def decompress(self, data: bytes, /) -> bytes:
        """What comes out of the next bytes."""
        ...


class DecompressedStream(io.RawIOBase):
    """What a stream of one or more parts holds.

    Args:
        stream: compressed.
        begin: makes what decompresses a part.
        padding: what may stand between the parts.
    """

    def __init__(self, stream: BinaryIO, begin: Callable[[], Part], padding: bytes = b"") -> None:
        self._stream = stream
        self._begin = begin
        self._padding = padding
        self._part: Part | None = None
        self._parts = 0
        """That have come to their end."""
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """As files have it."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands over
        """Fill a part of the buffer.

        Raises:
            EOFError: the stream ends inside a part, or something else follows the last one.
            Exception: it is damaged; what the package for the compression raises.
        """
        while not self._ready:
            if not self._fetch():
                return 0
            self._ready = memoryview(self._next())
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _fetch(self) -> bool:
        """See that there is something to decompress; False at the end."""
        while not self._compressed:
            self._compressed = self._stream.read(_CHUNK)
            if not self._compressed:
                if self._part is None:
                    return False
                msg = "the compressed data ends before its end mark"
                raise EOFError(msg)
            self._skip_padding()
        return True

    def _skip_padding(self) -> None:
        if self._part is None and self._parts and self._padding:
            self._compressed = self._compressed.lstrip(self._padding)

    def _next(self) -> bytes:
        is_new = self._part is None
        part = self._part or self._begin()
        try:
            found = part.decompress(self._compressed)
        except Exception as exc:
            if is_new and self._parts:
                msg = "what follows the compressed data is something else, and is not read"
                raise EOFError(msg) from exc
            raise
        self._compressed = part.unused_data if part.eof else b""
        self._part = None if part.eof else part
        self._parts += part.eof
        self._skip_padding()
        return found


def gzip_stream(stream: BinaryIO) -> DecompressedStream:
    """A stream of gzip; zeros behind it, with which tapes are filled, are nothing."""
    return DecompressedStream(stream, lambda: zlib.decompressobj(_GZIP), padding=b"\0")
