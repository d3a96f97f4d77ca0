"""Bodies as they are sent over HTTP: compressed, and not to be trusted about what comes out."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol

import zstandard

from otel_runs.errors import DecodeError, TooLargeError, UnsupportedError

_LARGEST_WINDOW: Final = 8 * 1024 * 1024
"""Of zstd: what RFC 9659 lets a sender ask of a receiver's memory."""
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
    parts = bytearray()
    while True:
        member = zlib.decompressobj(_GZIP)
        parts += member.decompress(body, limit + 1 - len(parts))
        if len(parts) > limit:
            break
        _require_end(member)
        body = member.unused_data
        if not body:
            break
    return bytes(parts)


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
    while len(content) <= limit and body:
        frame = zstd.decompressobj()
        frame.decompress(body)
        _require_end(frame)
        body = frame.unused_data
    return content


class _Stream(Protocol):
    @property
    def eof(self) -> bool: ...


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
