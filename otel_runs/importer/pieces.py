"""A file cut into pieces that are read one by one, so that its size does not matter: lines, messages, or all of it.

What a file is, its first bytes say, not its name:

========================  =====================================================================================
first byte                what it is
========================  =====================================================================================
10, and no JSON follows   one protobuf message
below 8                   messages, each after its length in 4 bytes (the Collector's ``format: proto``, or either
                          format with ``compression``); no protobuf message begins with such a byte
others                    JSON, a document a line; one document, if its first line is not a whole one
========================  =====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BufferedReader
from typing import Final, NamedTuple

LARGEST: Final = 128 * 1024 * 1024
"""Bytes of a line, message or document: far more than a Collector sends at once, and still kept in memory."""
_LENGTH_BYTES: Final = 4
_HIGHEST_LENGTH_BYTE: Final = LARGEST >> 24
_CHUNK: Final = 1024 * 1024
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# A control character, as protobuf has them all over, is in no name of JSON.
_JSON: Final = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*("[^\x00-\x1f"]|\}|$)')
_UTF_16: Final = re.compile(rb"(\xff\xfe)?[{\[]\x00|\xfe\xff\x00[{\[]")
_FIELD_1: Final = 0x0A
"""The first byte of a protobuf message of OTLP: its only field, number 1, of a length."""
_LOOKED_AT: Final = 256


class Piece(NamedTuple):
    """A part of a file that can be read by itself."""

    place: str
    """Where it stands: ``line 3``, ``message 3``, or empty of the whole file."""
    body: bytes
    why: str = ""
    """Why it cannot be read, where that is known before it is decoded."""


def pieces_of(stream: BufferedReader) -> Iterator[Piece]:
    """The pieces of a file, in its order.

    Args:
        stream: what the file holds, decompressed.
    """
    first = stream.peek(_LOOKED_AT)[:_LOOKED_AT]
    if not first:
        return iter(())
    if _UTF_16.match(first):
        why = "it is text in UTF-16, as > of PowerShell writes it; expected UTF-8 (Out-File -Encoding utf8)."
        return iter([Piece("", b"", why)])
    if first[0] < _HIGHEST_LENGTH_BYTE:
        return _messages(stream)
    if first[0] == _FIELD_1 and first.strip() and not _JSON.match(first):
        return iter([_whole(b"", stream)])
    return _json_pieces(stream)


def _json_pieces(stream: BufferedReader) -> Iterator[Piece]:
    lines = (line for line in _lines(stream) if line.why or line.body.strip())
    first = next(lines, None)
    if first is None:
        return
    try:
        second = next(lines, None)
    except Exception:  # the file is damaged behind its first line
        yield first
        raise
    if second is not None and _goes_on(first, second):
        yield _whole(first.body + second.body, stream)
    else:
        yield first
        if second is not None:
            yield second
        yield from lines


def _goes_on(first: Piece, second: Piece) -> bool:
    """Whether two lines are the beginning of one document that is written over many."""
    if first.body.lstrip().startswith(b"["):
        return not first.body.rstrip().endswith(b"]")
    whole = first.body.lstrip().startswith(b"{") and first.body.rstrip().endswith(b"}")
    return not first.why and not whole and not second.body.startswith(b"{")


def _lines(stream: BufferedReader) -> Iterator[Piece]:
    number = 0
    while line := stream.readline(LARGEST + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) > LARGEST:
            while line and not line.endswith(b"\n"):
                line = stream.readline(_CHUNK)
            yield Piece(f"line {number}", b"", f"it has more than {LARGEST} bytes; expected a batch of spans a line.")
        else:
            yield Piece(f"line {number}", line)


def _messages(stream: BufferedReader) -> Iterator[Piece]:
    number = 0
    while length := stream.read(_LENGTH_BYTES):
        number += 1
        place = f"message {number}"
        size = int.from_bytes(length, "big")
        if size == 0 and len(length) == _LENGTH_BYTES:
            # Zeros, as a crash or a download that was cut off leaves them, would be messages without end.
            yield Piece(place, b"", "its length is 0, which nobody writes. The rest is not read.")
            return
        if size > LARGEST:
            # Where the next message begins is not known any more.
            yield Piece(place, b"", f"its length is {size} bytes; expected up to {LARGEST}. The rest is not read.")
            return
        body = stream.read(size)
        if len(length) < _LENGTH_BYTES or len(body) < size:
            yield Piece(place, b"", f"the file ends inside it, {size - len(body)} bytes before its end.")
            return
        yield Piece(place, body)


def _whole(beginning: bytes, stream: BufferedReader) -> Piece:
    body = beginning + stream.read(LARGEST + 1 - len(beginning))
    if len(body) > LARGEST:
        return Piece("", b"", f"it is one document of more than {LARGEST} bytes; expected JSON lines or a part of it.")
    return Piece("", body)
