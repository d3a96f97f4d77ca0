"""How many things a request may hold, so that what a small one becomes does not fill memory or a writer's time.

An empty message of protobuf takes two bytes, an empty object of JSON three: in 20 MiB, which compressed are a few kB,
there would be ten million. They took 1.5 GB and half a minute. No real span is smaller than some thirty bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from otel_runs.errors import TooLargeError
from otel_runs.spans.protobuf_wire import DELIMITED, GROUP, fields

MOST: Final = 200_000
"""Spans (or log records), scopes and resources of a request together. Senders put some thousand into one."""
_FEW: Final = 1_000
"""That any request may have, however small."""
_LEAST_BYTES: Final = 16
"""Of each, on average."""
_SMALLEST_FIELD: Final = 2
"""Bytes, of protobuf."""
_COUNTED: Final = 1_000
"""Fields that are counted at a time: there are as many as spans."""
_FEW_OBJECTS: Final = 100_000
"""That any JSON may have: they take 20 MB."""
_LEAST_JSON_BYTES: Final = 12
"""Of an object or list of JSON, on average. Among those of real spans ``{"intValue":1},`` is the smallest."""
_TEXT_OR_OPENING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([\[{])', re.DOTALL)


class Allowance:
    """Counts what a request holds.

    Args:
        size: bytes of its body; None: of no request, but of a file, of which anything may come.
    """

    def __init__(self, size: int | None) -> None:
        self._most = None if size is None else min(MOST, _FEW + size // _LEAST_BYTES)
        self._count = 0

    def take(self, count: int) -> None:
        """So many more were found.

        Raises:
            TooLargeError: they are too many.
        """
        if self._most is None:
            return
        self._count += count
        if self._count > self._most:
            msg = f"The request has more than {self._most} spans, scopes and resources; send smaller batches."
            raise TooLargeError(msg)


UNBOUNDED: Final = Allowance(None)


def counted_fields(
    message: bytes, start: int, end: int, allowance: Allowance
) -> Iterator[tuple[int, int, int, int, int]]:
    """The fields of the message between two places, as ``fields`` yields them, each taken from an allowance.

    Raises:
        ValueError: it is no message.
        TooLargeError: it has more fields than are allowed.
    """
    count = 0
    for field in fields(message, start, end):
        _, kind, before, _, behind = field
        count += _fields_in(kind, behind - before)
        if count >= _COUNTED:
            allowance.take(count)
            count = 0
        yield field
    allowance.take(count)


def _fields_in(kind: int, size: int) -> int:
    """For how many fields one stands: to find the end of a group costs as much as all that may be in it."""
    return size // _SMALLEST_FIELD if kind == GROUP else 1


def require_few_objects(body: bytes) -> None:
    """Refuse JSON that is made of little else than brackets: it would take twice the memory of any real spans.

    Raises:
        TooLargeError: it is.
    """
    most = _FEW_OBJECTS + len(body) // _LEAST_JSON_BYTES
    # Those inside of texts count only if they matter.
    if body.count(b"{") + body.count(b"[") > most and _has_openings(body, most + 1):
        msg = f"The JSON has more than {most} objects and lists in {len(body)} bytes; no spans look like that."
        raise TooLargeError(msg)


def _has_openings(body: bytes, count: int) -> bool:
    openings = (found for found in _TEXT_OR_OPENING.finditer(body) if found.lastindex)
    return next(islice(openings, count - 1, None), None) is not None


def require_few_fields(body: bytes, kind: Any) -> None:
    """Refuse a part of a message that cannot be cut apart, a span as a rule, if it is made of very many small fields.

    Args:
        body: such a part, with all that is around it.
        kind: the message's descriptor: of google.protobuf, whose types differ with its implementation.

    Raises:
        TooLargeError: it is.
    """
    left = MOST
    messages = [(kind, 0, len(body))] if len(body) > MOST * _SMALLEST_FIELD else []
    while messages:
        descriptor, start, end = messages.pop()
        # What is damaged is found, and told, by who reads it.
        with suppress(ValueError):
            for number, wire_type, before, content, behind in fields(body, start, end):
                left -= _fields_in(wire_type, behind - before)
                if left < 0:
                    msg = f"A span (or resource, or log record) of the request has more than {MOST} fields."
                    raise TooLargeError(msg)
                field = descriptor.fields_by_number.get(number) if wire_type == DELIMITED else None
                if field is not None and field.message_type is not None:
                    messages.append((field.message_type, content, behind))
