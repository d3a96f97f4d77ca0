"""Where output goes: a terminal (colours, its width, boxes) or a file or pipe (plain text, nothing cut off)."""

from __future__ import annotations

import io
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from rich.console import Console

from otel_runs.cli.text import json_safe, many_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

UNLIMITED: Final = 10_000
"""Width given to what is not a terminal: lines are as long as what they hold."""


class Marks(NamedTuple):
    """Characters that draw; every field has an ASCII form for terminals that know no other."""

    success: str
    failed: str
    running: str
    skipped: str
    cancelled: str
    pending: str
    bar: str
    bar_half_left: str
    bar_half_right: str
    more: str
    arrow: str
    nested: str
    tree_child: str
    tree_last: str
    tree_line: str
    tree_gap: str


UNICODE: Final = Marks(
    success="✔",
    failed="✘",
    running="▶",
    skipped="↷",
    cancelled="■",
    pending="○",
    bar="━",
    bar_half_left="╺",
    bar_half_right="╸",
    more="…",
    arrow="→",
    nested="└ ",
    tree_child="├─ ",
    tree_last="└─ ",
    tree_line="│  ",
    tree_gap="   ",
)
ASCII: Final = Marks(
    success="+",
    failed="x",
    running=">",
    skipped="~",
    cancelled="#",
    pending=".",
    bar="=",
    bar_half_left="=",
    bar_half_right="=",
    more="...",
    arrow="->",
    nested="- ",
    tree_child="|- ",
    tree_last="`- ",
    tree_line="|  ",
    tree_gap="   ",
)


def stdout() -> Console:
    """The console for results. Colours and width by the usual variables too: NO_COLOR, FORCE_COLOR, COLUMNS."""
    _never_fail_to_encode()
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNLIMITED
    return console


def put(console: Console, shown: RenderableType) -> None:
    """Print to the console; in a file or pipe without the blanks that fill up lines."""
    if console.is_terminal:
        console.print(shown)
        return
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), soft_wrap=True)


def marks(console: Console) -> Marks:
    """The drawing characters that the console's encoding has."""
    return ASCII if console.options.ascii_only else UNICODE


def complain(message: str) -> None:
    """One error message on standard error."""
    _never_fail_to_encode()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print("Error: ", style="bold red", end="")
    console.print(many_lines(message))


def hint(message: str) -> None:
    """Something to know beside the result, on standard error: what reads standard output is not disturbed."""
    _never_fail_to_encode()
    Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True).print(many_lines(message))


def json_text(value: object, *, lines: bool = False) -> str:
    """The value as JSON: indented, or on one line. Times are ISO 8601 in UTC with microseconds and ``Z``."""
    option = orjson.OPT_PASSTHROUGH_DATETIME | (0 if lines else orjson.OPT_INDENT_2)
    return json_safe(orjson.dumps(value, default=_json_value, option=option).decode())


def print_json(value: object, *, lines: bool = False) -> None:
    """Print the value as JSON in UTF-8, whatever the terminal's encoding: JSON knows no other."""
    if sys.stdout is None:  # it was closed before we started; what is no JSON goes nowhere then, too
        return
    text = json_text(value, lines=lines) + "\n"
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        sys.stdout.write(text)
    else:
        sys.stdout.flush()
        binary.write(text.encode())
        binary.flush()


def fields(values: Iterable[NamedTuple]) -> list[Mapping[str, object]]:
    """Named tuples as JSON objects."""
    return [value._asdict() for value in values]


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return str(value)


def _never_fail_to_encode() -> None:
    for stream in (sys.stdout, sys.stderr):
        # In the POSIX locale it is surrogateescape, which cannot encode either. What the user has chosen is left.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
            stream.reconfigure(errors="replace")
