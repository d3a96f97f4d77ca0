"""Tolerant readings of attribute values. Tools send numbers as text, booleans as words and JSON inside strings.

Each reader returns None for what it cannot read: a bad value becomes NULL, never zero (and never an error that would
cost the span its row).
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Final

import orjson

_MOST: Final = 10**15
"""Above what anybody counts or pays. Sums of some 9,000 rows with that much pass 64 bits: whoever adds up caps them."""
_WIDEST: Final = 64
"""Bits of an integer, with its sign, that JSON libraries take as it is."""
_LONGEST_INTEGER: Final = 1024
"""Bits of an integer that is written out; Python itself refuses from some 14,000 on."""
_DEEPEST: Final = 32
"""Levels of lists and mappings kept of one value; orjson refuses from 254 on."""
_CUT_MARK: Final = " ... (cut)"

_ROW_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ROW_ID_LENGTH: Final = 36

NAME_LENGTH: Final = 512
"""Characters kept of a text that is indexed: PostgreSQL refuses an index entry above 2,704 bytes."""
_CACHED_LENGTH: Final = 64
TEXT_LENGTH: Final = 65_536
"""Characters kept of an error with its stack trace."""


def count(value: object) -> int | None:
    """A count: an integer from 0 to 10**15; ``"12"`` and 12.0 are 12."""
    if type(value) is int:  # as nearly always; a bool is no number here
        return value if 0 <= value <= _MOST else None
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, float):
        if not value.is_integer():
            return None
        value = int(value)
    return value if isinstance(value, int) and 0 <= value <= _MOST else None


def attempt(value: object) -> int | None:
    """A try's number, from 1 on."""
    number = count(value)
    return number if number is not None and 1 <= number <= 2**31 - 1 else None


def amount(value: object) -> float | None:
    """A number from 0 to 10**15."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = _number(value)
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= _MOST else None


def ns_from_seconds(value: object) -> int | None:
    """Nanoseconds from seconds."""
    seconds = amount(value)
    return None if seconds is None else count(round(seconds * 1e9))


def boolean(value: object) -> bool | None:
    """A truth value; ``"True"`` and ``"false"`` are read too."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def name(value: object) -> str | None:
    """A short text, cut at NAME_LENGTH; empty and ``n/a`` are nothing. Numbers are written out."""
    if isinstance(value, str):
        return _short(value) if len(value) <= _CACHED_LENGTH else _short.__wrapped__(value)
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else None
    return None if isinstance(value, bool) else _written_out(value)


@lru_cache(maxsize=4096)  # names of steps, kinds and statuses come again and again: 0.1 us instead of 0.8
def _short(value: str) -> str | None:
    value = clean(value).strip()
    if not value or value.lower() == "n/a":
        return None
    return value if len(value) <= NAME_LENGTH else value[:NAME_LENGTH]


def text(value: object) -> str | None:
    """A long text, cut at TEXT_LENGTH with a mark."""
    if not isinstance(value, str) or not value:
        return None
    value = clean(value)
    return value if len(value) <= TEXT_LENGTH else value[: TEXT_LENGTH - len(_CUT_MARK)] + _CUT_MARK


def row_id(value: object) -> str | None:
    """The id of a run or model run: a UUID in lower case."""
    return value if isinstance(value, str) and len(value) == _ROW_ID_LENGTH and _is_row_id(value) else None


@lru_cache(maxsize=1024)  # the spans of a run carry the same stamp
def _is_row_id(value: str) -> bool:
    return _ROW_ID.fullmatch(value) is not None


def names(value: object) -> tuple[str, ...] | None:
    """A list of short texts; one text alone is a list of one."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, (list, tuple)):
        return None
    return tuple(item for item in map(name, value) if item is not None)


def last_name(value: object) -> str | None:
    """The last of a list of short texts."""
    found = names(value)
    return found[-1] if found else None


def clean(value: str) -> str:
    """The text without what no database takes: NUL (PostgreSQL) and half surrogate pairs (not UTF-8)."""
    if value.isascii():
        return value.replace("\x00", "\ufffd") if "\x00" in value else value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def plain(value: object, levels: int = _DEEPEST) -> Any:
    """The value as JSON can hold it, or None where it cannot.

    Args:
        value: of an attribute.
        levels: how many levels of lists and mappings are kept; what is deeper is None.
    """
    if isinstance(value, str):
        return text(value) or ""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if value.bit_length() < _WIDEST else _written_out(value)
    if levels == 0:
        return None
    if isinstance(value, (list, tuple)):
        return [plain(item, levels - 1) for item in value]
    if isinstance(value, dict):
        return {clean(str(key)): plain(item, levels - 1) for key, item in value.items()}
    return text(str(value))


def _written_out(value: object) -> str | None:
    return str(value) if isinstance(value, int) and value.bit_length() <= _LONGEST_INTEGER else None


def _number(value: str) -> int | float | None:
    try:
        found = orjson.loads(value.strip().strip('"'))
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None
