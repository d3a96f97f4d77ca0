"""A file to import, or standard input: opened, decompressed as its first bytes say, and how far it has been read."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from otel_runs.errors import DecodeError
from otel_runs.importer.streams import gzip_stream

STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BUFFER: Final = 1024 * 1024


class UnopenedError(DecodeError):
    """The file as a whole cannot be read."""


class Source(NamedTuple):
    """An open file."""

    name: str
    stream: io.BufferedReader
    """What it holds, decompressed."""
    raw: BinaryIO | None
    """The file itself, to tell how far it has been read; None of what has no end to compare that with."""

    def position(self) -> int:
        """Bytes of the file read so far."""
        return 0 if self.raw is None else self.raw.tell()


@contextmanager
def open_source(name: str) -> Iterator[Source]:
    """Open a file.

    Args:
        name: a path; ``-`` is standard input.

    Raises:
        UnopenedError: it is no file, cannot be opened, or is compressed with zstd and the package for that is missing.
    """
    if name == STDIN:
        yield Source("standard input", _decompressed(sys.stdin.buffer, "standard input"), None)
        return
    path = Path(name)
    if path.is_dir():
        msg = f"{name} is a folder; expected files. Name those in it: {path / '*'}"
        raise UnopenedError(msg)
    if path.exists() and not path.is_file() and not path.is_fifo():
        msg = f"{name} is a device or socket; expected a file, a pipe, or - for standard input."
        raise UnopenedError(msg)
    try:
        raw = path.open("rb")
    except OSError as exc:
        msg = f"{name} cannot be opened: {exc.strerror or exc}."
        raise UnopenedError(msg) from exc
    with raw:
        # A pipe has no place to tell.
        yield Source(name, _decompressed(raw, name), raw if raw.seekable() else None)


def size_of(name: str) -> int | None:
    """Bytes of a file as it lies on the disk; None of what is no plain file."""
    path = Path(name)
    return path.stat().st_size if name != STDIN and path.is_file() else None


def _decompressed(raw: BinaryIO, name: str) -> io.BufferedReader:
    buffered = _buffered(raw)
    first = buffered.peek(len(ZSTD))
    if first.startswith(_GZIP):
        return _buffered(gzip_stream(buffered))
    if first.startswith(ZSTD):
        return _buffered(_zstd_stream(buffered, name))
    return buffered


def _buffered(stream: Any) -> io.BufferedReader:
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream, _BUFFER)


def _zstd_stream(stream: BinaryIO, name: str) -> io.RawIOBase:
    try:
        from otel_runs.importer.zstd import zstd_stream
    except ImportError as exc:
        msg = f"{name} is compressed with zstd, which needs a package more: pip install 'otel-runs[zstd]'"
        raise UnopenedError(msg) from exc
    return zstd_stream(stream)


def zstd_decompressed(body: bytes, largest: int, name: str) -> bytes:
    """One message that the Collector compressed by itself.

    Args:
        body: a zstd frame.
        largest: bytes that it may have when decompressed.
        name: of the file, for the message.

    Raises:
        DecodeError: it is damaged or larger.
        UnopenedError: the package for zstd is missing.
    """
    with _zstd_stream(io.BytesIO(body), name) as stream:
        try:
            found = _buffered(stream).read(largest + 1)
        except decompression_errors() as exc:
            msg = f"the compressed message is damaged: {str(exc).rstrip('.')}."
            raise DecodeError(msg) from exc
    if len(found) > largest:
        msg = f"the message has more than {largest} bytes when decompressed; that is no batch of a Collector's."
        raise DecodeError(msg)
    return found


def decompression_errors() -> tuple[type[Exception], ...]:
    """What reading a damaged or unfinished file raises."""
    errors: tuple[type[Exception], ...] = (EOFError, zlib.error, OSError)
    zstandard = sys.modules.get("zstandard")  # if it is not there, nothing of it was raised
    return errors if zstandard is None else (*errors, zstandard.ZstdError)
