"""Tables for a terminal, fitted to its width; plain columns, nothing cut off, for a file or pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table

from otel_runs.cli.text import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

    Cells = Sequence[Text]

READABLE: Final = 16
"""Characters that a shrinking column keeps, as long as there is a layout that can give them."""

_LEAST: Final = 12
"""Characters that a shrinking column keeps while another can leave: what 80 columns leave it beside long numbers."""

_BOX_SIDES: Final = 3
"""What lines add to the width of a column: one of them, and a space on each side."""


class Column(NamedTuple):
    """One column of a listing."""

    title: str
    right: bool = False
    """Values stand at the right edge: numbers."""
    shrinks: bool = False
    """Values may be cut off, with an ellipsis, where the terminal is too narrow. At most one column of a table."""
    optional: bool = False
    """Left out where the terminal is too narrow or all values are NULL; never left out of a file or pipe."""
    leaves: int = 0
    """Left out where the terminal is too narrow for what matters more: 1 goes first. 0: never."""
    at_least: int = 0
    """Characters kept free for values that come later."""


class Layout(NamedTuple):
    """Which columns are shown, how wide, and whether with lines around them."""

    columns: list[tuple[int, Column, int]]
    """Place among the cells of a row, column, width."""
    boxed: bool


def layout(console: Console, columns: Sequence[Column], rows: Sequence[Cells], *, boxed: bool = True) -> Layout:
    """Fit the columns to the console.

    Args:
        console: its width is the measure; one that is no terminal takes everything.
        columns: in their order.
        rows: what the columns are to hold; a cell for every column.
        boxed: draw lines around the cells if there is room.
    """
    widths = [
        max([cell_len(column.title), column.at_least, *(row[place].cell_len for row in rows)])
        for place, column in enumerate(columns)
    ]
    measured = list(zip(range(len(columns)), columns, widths, strict=True))
    if not console.is_terminal:
        return Layout(measured, boxed=False)
    needed = [entry for entry in measured if not entry[1].optional]
    shown = _without_what_leaves(console.width, needed)
    if len(shown) < len(needed):
        return Layout(_shrunk_to(console.width, shown, boxed=False), boxed=False)
    boxed = boxed and _width(needed, boxed=True, kept=READABLE) <= console.width
    for entry in measured:
        place, column, _ = entry
        if (
            column.optional
            and any(row[place].plain != NOTHING for row in rows)
            and (_width([*shown, entry], boxed=boxed) <= console.width)
        ):
            shown.append(entry)
    return Layout(_shrunk_to(console.width, sorted(shown), boxed=boxed), boxed)


def table(console: Console, fitted: Layout, rows: Sequence[Cells], *, header: bool = True) -> Table:
    """The rows in a layout that was made for them or for rows before them."""
    if fitted.boxed:
        drawn = Table(box=box.HEAVY_HEAD, show_header=header)
    elif console.is_terminal:
        drawn = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, show_header=header)
    else:
        drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=header)
    for _, column, width in fitted.columns:
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            # The ellipsis is no ASCII character.
            overflow="crop" if console.options.ascii_only else "ellipsis",
            width=width if console.is_terminal else None,
            min_width=width,
        )
    for row in rows:
        drawn.add_row(*(row[place] for place, _, _ in fitted.columns))
    return drawn


def _without_what_leaves(width: int, entries: list[tuple[int, Column, int]]) -> list[tuple[int, Column, int]]:
    shown = list(entries)
    for entry in sorted((entry for entry in entries if entry[1].leaves), key=lambda entry: entry[1].leaves):
        if _width(shown, boxed=False, kept=_LEAST) <= width:
            break
        shown.remove(entry)
    return shown


def _width(entries: Sequence[tuple[int, Column, int]], *, boxed: bool, kept: int | None = None) -> int:
    """Characters of a line; with ``kept``, where the shrinking column has shrunk to so many."""
    widths = [width if kept is None or not column.shrinks else min(width, kept) for _, column, width in entries]
    return sum(widths) + (_BOX_SIDES * len(widths) + 1 if boxed else len(widths) - 1)


def _shrunk_to(width: int, entries: list[tuple[int, Column, int]], *, boxed: bool) -> list[tuple[int, Column, int]]:
    excess = max(0, _width(entries, boxed=boxed) - width)
    return [
        (place, column, max(len(column.title), own - excess) if column.shrinks else own)
        for place, column, own in entries
    ]
