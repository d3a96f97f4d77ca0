"""One export request as both receivers hand it on, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple

from otel_runs.receiver.compression import unpacked
from otel_runs.spans.decoded import Decoded
from otel_runs.spans.from_otlp_json import spans_from_json, started_spans_from_json_logs
from otel_runs.spans.from_otlp_protobuf import parts_from_protobuf
from otel_runs.spans.limits import Limits

Signal = Literal["traces", "logs"]
Encoding = Literal["protobuf", "json"]

SHOWN_REASONS: Final = 5
"""Refused spans whose reason an answer tells; all are counted."""


def _in_one_part(read: Callable[[bytes, Limits], Decoded], body: bytes, limits: Limits) -> Iterator[Decoded]:
    return iter([read(body, limits)])


_READERS: Final[dict[tuple[Signal, Encoding], Callable[[bytes, Limits], Iterator[Decoded]]]] = {
    ("traces", "protobuf"): partial(parts_from_protobuf, "traces"),
    ("traces", "json"): partial(_in_one_part, spans_from_json),
    ("logs", "protobuf"): partial(parts_from_protobuf, "logs"),
    ("logs", "json"): partial(_in_one_part, started_spans_from_json_logs),
}


class Request(NamedTuple):
    """What a client sent."""

    signal: Signal
    encoding: Encoding
    body: bytes
    compression: str = ""
    """Its Content-Encoding; "" is none."""

    def decode(self, limits: Limits, most_bytes: int) -> Iterator[Decoded]:
        """Read the body, a large one part by part; there is always one part.

        Args:
            limits: what is read of one span at most.
            most_bytes: after decompression.

        Raises (before the first part):
            DecodeError: it cannot be read.
            TooLargeError: it is larger than ``most_bytes``.
            UnsupportedError: its compression is not understood.
        """
        return _READERS[self.signal, self.encoding](unpacked(self.body, self.compression, most_bytes), limits)


class Outcome(NamedTuple):
    """A request's success: everything but what was refused is committed, to disk."""

    stored: int
    """Spans."""
    refused: int
    """Spans, or log records that tell of one."""
    reasons: tuple[str, ...]
    """Of the first refused ones."""

    @property
    def message(self) -> str:
        """Why spans were refused, for the client; "" if none was."""
        more = self.refused - len(self.reasons)
        return " ".join((*self.reasons, f"And {more} more." if more else "")).strip()


def joined(first: Outcome, second: Outcome) -> Outcome:
    """The outcome of two parts of a request."""
    reasons = first.reasons + second.reasons
    return Outcome(first.stored + second.stored, first.refused + second.refused, reasons[:SHOWN_REASONS])


def outcome_of(stored: int, refused: Sequence[str]) -> Outcome:
    """The outcome of so many stored spans, and of refused ones with their reasons."""
    return Outcome(stored, len(refused), tuple(refused[:SHOWN_REASONS]))
