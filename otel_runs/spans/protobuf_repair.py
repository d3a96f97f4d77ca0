"""A request that protobuf refuses as a whole, because of a few of its spans: without these.

Protobuf reads all or nothing. One text that is not UTF-8, or one value nested beyond its limit of 100 messages, both of
which Collectors let pass, would cost thousands of neighbours, and no sender sends them otherwise than together.

Source: protobuf.dev, encoding; traces and logs have the same structure: resources (1), in them scopes (2), in them
entries (2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message

_RESOURCES: Final = 1
_SCOPES: Final = 2
_ENTRIES: Final = 2
_DELIMITED: Final = 2
_WIRE_TYPE_BITS: Final = 3
_MORE: Final = 0x80
"""The bit of a number's byte that says that another one follows."""
_LONGEST_VARINT: Final = 10


class Repaired(NamedTuple):
    """What is left of a request."""

    body: bytes
    refused: list[bytes]
    """The id of each span (or log record's span) that was taken out, as it stands there; empty where there is none."""


class _Field(NamedTuple):
    number: int
    whole: bytes
    """With its tag and length."""
    content: bytes
    """Empty of what is no text, bytes or message."""


def repaired(body: bytes, kind: type[Message], id_field: int) -> Repaired:
    """The request without the entries that cannot be read.

    Args:
        body: of traces or logs.
        kind: of the message: of traces or of logs.
        id_field: number of the field in which an entry has its span id.

    Raises:
        ValueError: it is damaged in other places as well.
    """
    refused: list[bytes] = []

    def readable(content: bytes) -> bytes | None:
        try:
            # In its place: the limit of nesting counts from the outermost message.
            kind.FromString(_field(_RESOURCES, _field(_SCOPES, _field(_ENTRIES, content))))
        except ProtobufError:
            refused.append(next((field.content for field in _fields(content) if field.number == id_field), b""))
            return None
        return content

    def scope(content: bytes) -> bytes:
        return _rebuilt(content, _ENTRIES, readable)

    def resource(content: bytes) -> bytes:
        return _rebuilt(content, _SCOPES, scope)

    return Repaired(_rebuilt(body, _RESOURCES, resource), refused)


def _rebuilt(message: bytes, number: int, change: Callable[[bytes], bytes | None]) -> bytes:
    """The message with the content of some of its fields changed, or (None) left out."""
    parts = []
    for field in _fields(message):
        if field.number != number:
            parts.append(field.whole)
            continue
        content = change(field.content)
        if content is not None:
            parts.append(_field(number, content))
    return b"".join(parts)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << _WIRE_TYPE_BITS | _DELIMITED) + _varint(len(content)) + content


def _fields(message: bytes) -> Iterator[_Field]:
    """The fields of a message, in its order.

    Raises:
        ValueError: it is no message.
    """
    place = 0
    while place < len(message):
        start = place
        tag, place = _read_varint(message, place)
        content = place
        match tag & 7:
            case 0:
                _, place = _read_varint(message, place)
            case 1:
                place += 8
            case 2:
                length, content = _read_varint(message, place)
                place = content + length
            case 5:
                place += 4
            case other:
                msg = f"wire type {other} at byte {start}"
                raise ValueError(msg)
        if place > len(message):
            msg = f"the message ends inside its field {tag >> _WIRE_TYPE_BITS}"
            raise ValueError(msg)
        inside = message[content:place] if tag & 7 == _DELIMITED else b""
        yield _Field(tag >> _WIRE_TYPE_BITS, message[start:place], inside)


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    """A number and the place behind it."""
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
