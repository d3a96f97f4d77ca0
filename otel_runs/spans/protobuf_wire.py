"""Protobuf as it is on the wire, below its messages.

Source: protobuf.dev, encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

DELIMITED: Final = 2
"""The wire type of texts, bytes and messages."""
GROUP: Final = 3
"""The wire type of an old kind of message inside a message, which has an end mark instead of a length."""
_GROUP_END: Final = 4
_FIXED: Final = {1: 8, 5: 4}
"""Wire type -> bytes."""
_LONGEST_GROUP: Final = 1_000
"""Fields. OTLP has no groups; those of what is newer are not expected to be long."""
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
        elif kind in _FIXED:
            place += _FIXED[kind]
        elif kind == GROUP:
            place = _behind_group(message, place)
        else:
            msg = f"wire type {kind} at byte {before}"
            raise ValueError(msg)
        if tag <= _WIRE_TYPE:  # as in zeros
            msg = f"field number 0 at byte {before}"
            raise ValueError(msg)
        if place > end:
            msg = f"the message ends inside its field {tag >> _WIRE_TYPE_BITS}"
            raise ValueError(msg)
        yield tag >> _WIRE_TYPE_BITS, kind, before, content, place


def _behind_group(message: bytes, place: int) -> int:
    """The place behind a group: all that is in it has to be walked through."""
    depth = 1
    for _ in range(_LONGEST_GROUP):
        tag, place = _read_varint(message, place)
        kind = tag & _WIRE_TYPE
        depth += (kind == GROUP) - (kind == _GROUP_END)
        if depth == 0:
            return place
        if kind == DELIMITED:
            length, place = _read_varint(message, place)
            place += length
        elif kind == 0:
            _, place = _read_varint(message, place)
        else:
            place += _FIXED.get(kind, 0)
    msg = f"a group of more than {_LONGEST_GROUP} fields"
    raise ValueError(msg)


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
