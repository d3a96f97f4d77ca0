"""A request that protobuf refuses as a whole, because of a few of its spans: without these.

Protobuf reads all or nothing. One text that is not UTF-8, or one value nested beyond its limit of 100 messages, both of
which Collectors let pass, would cost thousands of neighbours, and no sender sends them otherwise than together.

Source: protobuf.dev, encoding; traces and logs have the same structure: resources (1), in them scopes (2), in them
entries (2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message

from otel_runs.spans.protobuf_wire import DELIMITED, delimited, fields
from otel_runs.spans.sizes import UNBOUNDED, Allowance, counted_fields

_RESOURCES: Final = 1
_SCOPES: Final = 2
_ENTRIES: Final = 2


class Repaired(NamedTuple):
    """What is left of a request."""

    body: bytes
    refused: list[bytes]
    """The id of each span (or log record's span) that was taken out, as it stands there; empty where there is none."""


def repaired(body: bytes, kind: type[Message], id_field: int, allowance: Allowance = UNBOUNDED) -> Repaired:
    """The request without the entries that cannot be read.

    Args:
        body: of traces or logs.
        kind: of the message: of traces or of logs.
        id_field: number of the field in which an entry has its span id.
        allowance: takes each field that is looked at.

    Raises:
        ValueError: it is damaged in other places as well.
        TooLargeError: it has more fields than are allowed.
    """
    refused: list[bytes] = []

    def readable(content: bytes) -> bytes | None:
        try:
            # In its place: the limit of nesting counts from the outermost message.
            kind.FromString(delimited(_RESOURCES, delimited(_SCOPES, delimited(_ENTRIES, content))))
        except ProtobufError:
            refused.append(_id(content, id_field))
            return None
        return content

    def scope(content: bytes) -> bytes:
        return _rebuilt(content, _ENTRIES, readable, allowance)

    def resource(content: bytes) -> bytes:
        return _rebuilt(content, _SCOPES, scope, allowance)

    return Repaired(_rebuilt(body, _RESOURCES, resource, allowance), refused)


def _id(entry: bytes, id_field: int) -> bytes:
    for number, kind, _, content, end in fields(entry, 0, len(entry)):
        if (number, kind) == (id_field, DELIMITED):
            return entry[content:end]
    return b""


def _rebuilt(message: bytes, number: int, change: Callable[[bytes], bytes | None], allowance: Allowance) -> bytes:
    """The message with the content of some of its fields changed, or (None) left out."""
    parts = []
    for found, kind, start, content, end in counted_fields(message, 0, len(message), allowance):
        if (found, kind) != (number, DELIMITED):
            parts.append(message[start:end])
            continue
        changed = change(message[content:end])
        if changed is not None:
            parts.append(delimited(number, changed))
    return b"".join(parts)
