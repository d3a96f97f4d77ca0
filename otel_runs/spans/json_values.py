"""The values of OTLP JSON, also as senders write them that do not keep to the letter.

Source: opentelemetry.io/docs/specs/otlp, JSON Protobuf Encoding; protobuf.dev, ProtoJSON format.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Final

from otel_runs.spans.decoded import RefusedError, shown
from otel_runs.spans.limits import Limits
from otel_runs.spans.span import NO_ATTRIBUTES, Attributes

_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_BASE64_LENGTHS: Final = {24: 16, 22: 16, 12: 8, 11: 8}
"""Characters of an id in base64, with padding or without -> its bytes. Hexadecimal ids have 32 or 16."""
_LONGEST_NUMBER: Final = 32
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


def id_of(value: object, field: str) -> str:
    """An id in lower-case hexadecimal digits, of any length; empty where there is none.

    OTLP JSON writes ids in hexadecimal digits of either case; what plain protobuf libraries write is base64.

    Raises:
        RefusedError: the value is neither.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        lower = value.lower()
        if _HEX_DIGITS.issuperset(lower):
            return lower
        if len(value) in _BASE64_LENGTHS:
            decoded = bytes_of(value)
            if decoded is not None and len(decoded) == _BASE64_LENGTHS[len(value)]:
                return decoded.hex()
    msg = f"{field} is {shown(value)}; expected hexadecimal digits."
    raise RefusedError(msg)


def bytes_of(value: object) -> bytes | None:
    """Bytes from base64 of either alphabet, with padding or without; None if it is no base64."""
    if not isinstance(value, str):
        return None
    text = value.translate(_STANDARD_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: a character that is not ASCII
        return None


_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")


def integer_of(value: object) -> int | None:
    """An integer of 64 bits, signed or not, from a number or text; None if it is none."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        try:
            value = int(value)
        except ValueError:
            return None
    if isinstance(value, float) and value.is_integer():  # 1.76e18, as JavaScript writes it
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if _SMALLEST <= value <= _LARGEST else None
    return None


def attributes_of(pairs: object, limits: Limits) -> Attributes:
    """Attributes from a list of key and value.

    Raises:
        RefusedError: it is no such list.
    """
    if not pairs:
        return NO_ATTRIBUTES
    if not isinstance(pairs, list):
        msg = f"attributes is {shown(pairs)}; expected a list of objects with key and value."
        raise RefusedError(msg)
    return _mapping(pairs[: limits.attributes], limits, limits.depth)


def _mapping(pairs: list[object], limits: Limits, depth: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in pairs:
        name = pair.get("key") if isinstance(pair, dict) else None
        if not isinstance(pair, dict) or not isinstance(name, str):
            msg = f"an attribute is {shown(pair)}; expected an object with key and value."
            raise RefusedError(msg)
        found[name] = _value(pair.get("value"), limits, depth)
    return found


def _value(value: object, limits: Limits, depth: int) -> object:
    """The value; None where it is not reported, too deep, or cannot be read."""
    if not isinstance(value, dict):
        return None
    for kind, held in value.items():
        if kind == "stringValue":
            return held[: limits.text] if isinstance(held, str) else None
        if kind == "intValue":
            return integer_of(held)
        if kind == "doubleValue":
            return _double(held)
        if kind == "boolValue":
            return held if isinstance(held, bool) else None
        if kind == "bytesValue":
            decoded = bytes_of(held)
            return None if decoded is None else decoded[: limits.text]
        if kind in {"arrayValue", "kvlistValue"}:
            return _nested(kind, held, limits, depth)
    return None  # empty, or of kinds that are newer than this


def _nested(kind: str, held: object, limits: Limits, depth: int) -> object:
    if depth == 0 or not isinstance(held, dict):
        return None
    values = held.get("values") or []
    if not isinstance(values, list):
        return None
    if kind == "arrayValue":
        return tuple([_value(item, limits, depth - 1) for item in values])
    return _mapping(values, limits, depth - 1)


def _double(value: object) -> float | None:
    """A double; not a number and the infinities are written as words."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return _finite(value)
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _finite(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 1,024 bits
        return math.inf if value > 0 else -math.inf
