"""A large request cut into small ones, so that it is never in memory as messages and spans all at once.

Of 20 MiB, protobuf's messages take 40 MB and the neutral spans another 100.

Source: protobuf.dev, encoding; traces and logs have the same structure: resources (1), in them scopes (2), in them
entries (2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from otel_runs.spans.protobuf_wire import DELIMITED, head_of
from otel_runs.spans.sizes import UNBOUNDED, Allowance, counted_fields

_LEVELS: Final = (1, 2, 2)
"""Numbers of the fields that are cut apart: of a request, of a resource's part, of a scope's part."""


class _Piece(NamedTuple):
    head: bytes
    """What stands before what is cut out of the body: what the piece has in common with its neighbours."""
    first: int
    last: int


class Pieces:
    """Requests that together say what a body says, in its order; each is made when its turn comes.

    Args:
        body: a TracesData or LogsData, as it is sent.
        cut: where.
    """

    def __init__(self, body: bytes, cut: list[_Piece]) -> None:
        self._body = body
        self._cut = cut

    def __iter__(self) -> Iterator[bytes]:
        return (piece.head + self._body[piece.first : piece.last] for piece in self._cut)


def pieces(body: bytes, size: int, allowance: Allowance = UNBOUNDED) -> Pieces:
    """Cut a body.

    Args:
        body: as of ``Pieces``.
        size: of a piece, about; one resource, scope or entry may be larger.
        allowance: takes each field that is looked at.

    Raises:
        ValueError: it is no message.
        TooLargeError: it has more fields than are allowed.
    """
    return Pieces(body, list(_cut(body, 0, len(body), _LEVELS, size, allowance)))


def _cut(
    body: bytes, start: int, end: int, levels: tuple[int, ...], size: int, allowance: Allowance
) -> Iterator[_Piece]:
    """The pieces of the message between two places: all of its other fields, and some of those that are cut apart."""
    if end - start <= size or not levels:
        yield _Piece(b"", start, end)
        return
    number, *inner = levels
    common, runs = _runs(body, start, end, number, size, allowance)
    # Each piece repeats what is common; where that is large, so are the pieces, or a small body made much work.
    size = max(size, len(common))
    for first, content, last in runs:
        if last - first <= size or not inner:
            yield _Piece(common, first, last)
        else:
            for head, *place in _cut(body, content, last, tuple(inner), size, allowance):
                length = len(head) + place[1] - place[0]
                yield _Piece(common + head_of(number, length) + head, *place)
    if not runs:
        yield _Piece(common, end, end)


def _runs(
    body: bytes, start: int, end: int, number: int, size: int, allowance: Allowance
) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The fields of other numbers than this, and runs of neighbours with it, each of about a size.

    A run is its first byte, the first of its last field's content, and its end. A field above the size has its own.
    """
    common = bytearray()
    runs: list[tuple[int, int, int]] = []
    first = content = last = start
    for found, kind, before, inside, behind in counted_fields(body, start, end, allowance):
        is_one = found == number and kind == DELIMITED
        if last > first and (not is_one or behind - first > size):
            runs.append((first, content, last))
            first = last = before
        if not is_one:
            common += body[before:behind]
            first = behind
        content, last = inside, behind
    if last > first:
        runs.append((first, content, last))
    return bytes(common), runs
