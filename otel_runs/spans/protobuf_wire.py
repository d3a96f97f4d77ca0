"""Protobuf as it is on the wire, below its messages.

Source: protobuf.dev, encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

DELIMITED: Final = 2
"""The wire type of texts, bytes and messages."""
_WIRE_TYPE_BITS: Final = 3
_WIRE_TYPE: Final = 0b111
_MORE: Final = 0x80
"""The bit of a number's byte that says that another one follows."""
_LONGEST_VARINT: Final = 10


def fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """The fields of the message between two places, in its order.

    Yields:
        Number, wire type, first byte, first byte of the content, end.

    Raises:
        ValueError: it is no message.
    """
    place = start
    while place < end:
        before = place
        tag, place = _read_varint(message, place)
        kind = tag & _WIRE_TYPE
        content = place
        if kind == DELIMITED:
            length, content = _read_varint(message, place)
            place = content + length
        elif kind == 0:
            _, place = _read_varint(message, place)
        elif kind == 1:
            place += 8
        elif kind == 5:  # noqa: PLR2004  wire types are what they are
            place += 4
        else:
            msg = f"wire type {kind} at byte {before}"
            raise ValueError(msg)
        if place > end:
            msg = f"the message ends inside its field {tag >> _WIRE_TYPE_BITS}"
            raise ValueError(msg)
        yield tag >> _WIRE_TYPE_BITS, kind, before, content, place


def delimited(number: int, content: bytes) -> bytes:
    """A field that holds a text, bytes or a message."""
    return head_of(number, len(content)) + content


def head_of(number: int, length: int) -> bytes:
    """What stands before the content of such a field."""
    return _varint(number << _WIRE_TYPE_BITS | DELIMITED) + _varint(length)


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    """A number and the place behind it."""
    piece = message[place : place + 2]
    if piece and piece[0] < _MORE:  # as most are
        return piece[0], place + 1
    if len(piece) > 1 and piece[1] < _MORE:  # as the length of most spans is
        return piece[0] - _MORE + (piece[1] << 7), place + 2
    value = 0
    for index, byte in enumerate(message[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < _MORE:
            return value, place + index + 1
    msg = f"no number at byte {place}"
    raise ValueError(msg)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= _MORE:
        found.append(value & 0x7F | _MORE)
        value >>= 7
    found.append(value)
    return bytes(found)
