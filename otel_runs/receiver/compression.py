"""Bodies as they are sent over HTTP: compressed, and not to be trusted about what comes out."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol

import zstandard

from otel_runs.errors import DecodeError, TooLargeError, UnsupportedError

_LARGEST_WINDOW: Final = 8 * 1024 * 1024
"""Of zstd: what RFC 9659 lets a sender ask of a receiver's memory."""
_MOST_PARTS: Final = 1024
"""Members of gzip or frames of zstd: senders make one, tools that compress in parallel one of each 64 KiB or more."""
_SLICE: Final = 65_536
_GZIP: Final = zlib.MAX_WBITS | 16


def unpacked(body: bytes, compression: str, limit: int) -> bytes:
    """The body as it was before its compression.

    Args:
        body: as sent.
        compression: a name of Content-Encoding; "" is none.
        limit: bytes that may come out. No more than that is ever unpacked.

    Raises:
        TooLargeError: more would come out.
        DecodeError: the body is damaged, or cut off.
        UnsupportedError: the compression is none of COMPRESSIONS.
    """
    unpack = _UNPACK.get(compression)
    if unpack is None:
        msg = f"Content-Encoding is {compression!r}; expected one of: {', '.join(COMPRESSIONS)}, or none."
        raise UnsupportedError(msg)
    try:
        content = unpack(body, limit)
    except (zlib.error, zstandard.ZstdError, EOFError) as exc:
        msg = f"The body ({len(body)} bytes) is no complete {compression}: {exc}."
        raise DecodeError(msg) from exc
    if len(content) > limit:
        msg = f"The body is larger than {limit} bytes after decompression; send smaller batches."
        raise TooLargeError(msg)
    return content


def _as_it_is(body: bytes, _limit: int) -> bytes:
    return body


def _gunzip(body: bytes, limit: int) -> bytes:
    """All members of a gzip stream: concatenated ones are one body (RFC 1952)."""
    return _joined(body, limit, lambda: zlib.decompressobj(_GZIP), "gzip members")


def _inflate(body: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(body, limit + 1)
    if len(content) <= limit:
        _require_end(stream)
    return content


def _unzstd(body: bytes, limit: int) -> bytes:
    """All frames, each with its end.

    Unpacked twice: the reader stops at the limit but takes a frame that was cut off for a whole one; the other way
    round for the decompressor.
    """
    zstd = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    content = zstd.stream_reader(body, read_across_frames=True).read(limit + 1)
    if len(content) > limit:
        return content
    del content  # before the same comes again
    return _joined(body, limit, lambda: _Frame(zstd), "zstd frames")


class _Stream(Protocol):
    """One member or frame."""

    @property
    def eof(self) -> bool:
        """Whether its end has come."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came behind its end."""
        ...

    def decompress(self, data: memoryview, max_length: int, /) -> bytes:
        """What comes out of the next bytes, up to a length."""
        ...


class _Frame:
    """A frame of zstd of which is known already that not too much comes out."""

    def __init__(self, zstd: zstandard.ZstdDecompressor) -> None:
        self._frame = zstd.decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: memoryview, _max_length: int, /) -> bytes:
        return self._frame.decompress(data)


def _joined(body: bytes, limit: int, begin: Callable[[], _Stream], parts: str) -> bytes:
    """What comes out of one member or frame after the other, up to one byte above the limit."""
    content = bytearray()
    view = memoryview(body)
    place = 0
    for _ in range(_MOST_PARTS):
        part = begin()
        while not part.eof and place < len(view):
            # In slices: what is behind the end of a part is copied, and that is the rest of the body without them.
            piece = view[place : place + _SLICE]
            content += part.decompress(piece, limit + 1 - len(content))
            if len(content) > limit:
                return bytes(content)
            place += len(piece) - len(part.unused_data)
        _require_end(part)
        if place == len(view):
            return bytes(content)
    msg = f"The body ({len(body)} bytes) has more than {_MOST_PARTS} {parts}; send it as one."
    raise DecodeError(msg)


def _require_end(stream: _Stream) -> None:
    if not stream.eof:
        msg = "its end is missing"
        raise EOFError(msg)


_UNPACK: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "": _as_it_is,
    "identity": _as_it_is,
    "gzip": _gunzip,
    "deflate": _inflate,
    "zstd": _unzstd,
}
COMPRESSIONS: Final = tuple(name for name in _UNPACK if name)
