"""Attributes: out of protobuf's messages, or out of the bytes in which they came, each a KeyValue.

Source: opentelemetry-proto common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from otel_runs.spans.decoded import RefusedError
from otel_runs.spans.limits import Limits
from otel_runs.spans.protobuf_wire import delimited
from otel_runs.spans.span import NO_ATTRIBUTES, Attributes

UNREADABLE: Final = (
    "protobuf cannot read it: a text in it is not UTF-8, or lists and mappings are nested more than 30 levels deep."
)
"""Why a span is refused that is such, or has such an attribute."""

_KNOWN_PAIRS: Final = 4_096
_KNOWN_BYTES: Final = 128
"""Of a pair that is remembered: to look up a long text takes longer than to read it. All take 1 MB with
their keys and values, of odd ones 4 MB."""
_SAMPLE: Final = 4_096
"""Pairs after which the pairs that were known are counted."""
_REST_BYTES: Final = 16_777_216
"""Of bodies that are read without pairs in bytes, once fewer than two thirds were known."""


class KnownPairs:
    """Reads attributes out of their bytes, and remembers the small ones: of most spans nearly all have come before.

    To look up a pair that is known takes 0.2 us, to parse another one 0.9; protobuf takes 0.5 where all are parsed
    together. So it pays where two thirds are known, and ``rests`` says where they are not. Any threads may use it.

    Args:
        limits: what is read at most.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[bytes, tuple[str, object]] = {}
        self._read = 0
        """Pairs since they were counted; and how many of them were not known."""
        self._unknown = 0
        self._rest_bytes = 0

    def rests(self, size: int) -> bool:
        """Whether a body of so many bytes is better read as protobuf's messages."""
        if self._read >= _SAMPLE:
            if self._unknown * 3 > self._read:
                self._known.clear()
                self._rest_bytes = _REST_BYTES
            self._read = self._unknown = 0
        if self._rest_bytes <= 0:
            return False
        self._rest_bytes -= size
        return True

    def attributes(self, pairs: Sequence[bytes]) -> Attributes:
        """The attributes of one span, event, link or resource.

        Args:
            pairs: each a KeyValue; of two with the same key the last one counts.

        Raises:
            RefusedError: protobuf cannot read one of them.
        """
        count = len(pairs)
        if count > self._limits.attributes:
            count = self._limits.attributes
            pairs = pairs[:count]
        self._read += count
        known = self._known.get
        found: dict[str, object] = {}
        for pair in pairs:
            name, value = (known(pair) if len(pair) <= _KNOWN_BYTES else None) or self._parsed(pair)
            found[name] = value
        return found or NO_ATTRIBUTES

    def _parsed(self, pair: bytes) -> tuple[str, object]:
        self._unknown += 1
        try:
            [found] = _mapping([_message(pair)], self._limits, self._limits.depth).items()
        except (ProtobufError, UnicodeDecodeError) as exc:  # the second from protobuf without its compiled part
            raise RefusedError(UNREADABLE) from exc
        if len(pair) <= _KNOWN_BYTES and _is_frozen(found[1]):
            if len(self._known) >= _KNOWN_PAIRS:
                self._known.clear()
            self._known[pair] = found
        return found


@lru_cache(maxsize=8)  # a process has one kind of limits; what is remembered serves all its requests
def known_pairs(limits: Limits) -> KnownPairs:
    """The pairs that are known, of these limits."""
    return KnownPairs(limits)


def _is_frozen(value: object) -> bool:
    """Whether many spans may share it."""
    return all(map(_is_frozen, value)) if isinstance(value, tuple) else not isinstance(value, dict)


_SHALLOW: Final = 188
"""Bytes of a pair that cannot be nested too deep: of 100 messages, each takes two more."""
_PLACE: Final = (
    OtlpSpan.ATTRIBUTES_FIELD_NUMBER,
    ScopeSpans.SPANS_FIELD_NUMBER,
    ResourceSpans.SCOPE_SPANS_FIELD_NUMBER,
    TracesData.RESOURCE_SPANS_FIELD_NUMBER,
)
"""Of a span's attribute, from inside out."""


def _message(pair: bytes) -> KeyValue:
    """The message as protobuf reads it in a span: its limit of nesting, 100, counts from the outermost message."""
    if len(pair) < _SHALLOW:
        message: KeyValue = KeyValue.FromString(pair)
        return message
    for number in _PLACE:
        pair = delimited(number, pair)
    request: TracesData = TracesData.FromString(pair)
    found: KeyValue = request.resource_spans[0].scope_spans[0].spans[0].attributes[0]
    return found


def attributes_from_messages(pairs: Sequence[KeyValue], limits: Limits) -> Attributes:
    """The attributes of one span, event, link or resource.

    Args:
        pairs: of two with the same key the last one counts.
        limits: what is read at most.
    """
    if not pairs:
        return NO_ATTRIBUTES
    if len(pairs) > limits.attributes:
        pairs = pairs[: limits.attributes]
    return _mapping(pairs, limits, limits.depth)


def _mapping(pairs: Iterable[KeyValue], limits: Limits, depth: int) -> dict[str, object]:
    longest = limits.text
    found: dict[str, object] = {}
    for pair in pairs:
        value = pair.value
        # Only one field is set, and others read as nothing. Most values are texts, then numbers: to look for these
        # first takes two thirds of the time of ListFields, which takes two thirds of that of WhichOneof and getattr.
        if text := value.string_value:
            found[pair.key] = text if len(text) <= longest else text[:longest]
        elif number := value.int_value:
            found[pair.key] = number
        else:
            found[pair.key] = _other(value.ListFields(), limits, depth)
    return found


def _other(fields: Sequence[tuple[Any, Any]], limits: Limits, depth: int) -> object:
    """What an AnyValue holds; None where it is not reported, too deep, or of a kind that is for other signals."""
    if not fields:
        return None
    field, value = fields[0]
    number = field.number
    if number in _AS_THEY_ARE:
        return value
    if number in _TEXTS:
        return value[: limits.text]
    if depth == 0:
        return None
    if number == AnyValue.ARRAY_VALUE_FIELD_NUMBER:
        return tuple([_other(item.ListFields(), limits, depth - 1) for item in value.values])
    if number == AnyValue.KVLIST_VALUE_FIELD_NUMBER:
        return _mapping(value.values, limits, depth - 1)
    return None


_AS_THEY_ARE: Final = frozenset(
    {AnyValue.INT_VALUE_FIELD_NUMBER, AnyValue.DOUBLE_VALUE_FIELD_NUMBER, AnyValue.BOOL_VALUE_FIELD_NUMBER}
)
_TEXTS: Final = frozenset({AnyValue.STRING_VALUE_FIELD_NUMBER, AnyValue.BYTES_VALUE_FIELD_NUMBER})
