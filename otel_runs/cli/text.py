"""Values as people read them. Pure functions: text in, text out.

Names, errors and metadata come from outside: whoever can send a span can put escape sequences in them. What goes to a
terminal passes ``one_line`` or ``many_lines`` first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

NOTHING: Final = "-"
"""Shown for NULL."""

SHORT_ID: Final = 8
"""Characters of an id that lists show."""

# Control characters (C0, DEL, C1), line and paragraph separators, marks that reorder what is read, lone surrogates.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_BUT_LINES: Final = re.compile(f"(?![\n\t]){_UNSAFE.pattern}")
_ESCAPES: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\x1b": r"\e"}

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def one_line(text: str) -> str:
    r"""The text on one line, with every character a terminal would act on shown instead (``\e`` for escape)."""
    return _UNSAFE.sub(_visible, text)


def many_lines(text: str) -> str:
    """Like ``one_line``, but line ends and tabs stay."""
    return _UNSAFE_BUT_LINES.sub(_visible, text.replace("\r\n", "\n"))


def json_safe(json: str) -> str:
    r"""The same JSON with every character a terminal would act on written as ``\uXXXX``.

    They stand only inside strings there, so this changes how they are written and not what is read. Line ends are left,
    for they part what is printed.
    """
    return _UNSAFE_BUT_LINES.sub(lambda match: f"\\u{ord(match[0]):04x}", json)


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}")  # noqa: PLR2004  a byte


def or_nothing(value: object) -> str:
    """The value as text, or ``-`` for None."""
    return NOTHING if value is None else one_line(str(value))


def short_id(row_id: str) -> str:
    """The first characters of an id."""
    return one_line(row_id[:SHORT_ID])


def count(value: int | None) -> str:
    """A whole number with its thousands parted, ``12,345``."""
    return NOTHING if value is None else f"{value:,}"


def cost(usd: float | None) -> str:
    """An amount of US dollars; below a cent with the digits that count, ``$0.0031``."""
    if usd is None:
        return NOTHING
    return f"${usd:,.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.2g}"  # noqa: PLR2004  a cent


def percent(value: float | None) -> str:
    """A percentage; only 100 is shown as 100."""
    if value is None:
        return NOTHING
    return "100%" if value == 100 else f"{min(value, 99.9):.1f}%"  # noqa: PLR2004  all of them


def time(value: datetime | None) -> str:
    """A time in UTC to the second, ``2026-01-09 14:23:15``."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def duration(seconds: float | None) -> str:
    """A duration: ``12.45s``; below 0.1 seconds ``85ms`` or ``<1ms``; from a minute on ``3m 05s``, ``2h 14m``."""
    if seconds is None:
        return NOTHING
    if 0 <= seconds < 0.1:  # noqa: PLR2004  in seconds it would be 0.0x; and milliseconds that are 0 were rounded
        return f"{seconds * 1000:.0f}ms" if seconds >= 0.001 else "<1ms"  # noqa: PLR2004  one millisecond
    if round(seconds, 2) < _MINUTE:
        return f"{seconds:.2f}s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR:02d}h"
