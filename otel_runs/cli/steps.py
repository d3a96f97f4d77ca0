"""The tree of a run's steps on the terminal: mark, name, rows, tokens, time, and the bar in the run's time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from otel_runs.cli.statuses import status_mark, style_of
from otel_runs.cli.text import NOTHING, duration
from otel_runs.cli.timeline import bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_runs.cli.branches import Branch
    from otel_runs.cli.output import Marks
    from otel_runs.cli.timeline import Interval

_GAP: Final = 2
_LONGEST_NAME: Final = 60
_SHORTEST_NAME: Final = 20
_LONGEST_BAR: Final = 50
_SHORTEST_BAR: Final = 10


class _Widths(NamedTuple):
    """Characters of each column; 0: the column is left out."""

    name: int
    rows: int
    tokens: int
    duration: int
    bar: int


def step_lines(branches: Sequence[Branch], whole: Interval, width: int, marks: Marks) -> Iterator[Text]:
    """The tree, line by line, with a line of titles above it.

    Args:
        branches: what to draw, from top to bottom.
        whole: the time that a full bar stands for.
        width: characters of a line.
        marks: what draws marks and bars.
    """
    widths = _widths(branches, width, marks)
    yield _titles(whole, widths)
    for branch in branches:
        yield _line(branch, whole, widths, marks)
        if branch.step.problem is not None:
            yield _problem(branch, width, marks)


def _widths(branches: Sequence[Branch], width: int, marks: Marks) -> _Widths:
    name = min(_LONGEST_NAME, max(_label(branch, marks).cell_len for branch in branches))
    rows = _column("Rows", [branch.step.rows for branch in branches])
    tokens = _column("Tokens", [branch.step.tokens for branch in branches])
    time = _column("Duration", [_duration(branch) for branch in branches])
    # What a narrow terminal does without, before names become unreadable: bars, tokens, rows.
    candidates = ((rows, tokens, time), (rows, 0, time), (0, 0, time))
    shown = next(
        (columns for columns in candidates if _left(width, columns) >= min(name, _SHORTEST_NAME)), candidates[-1]
    )
    left = _left(width, shown)
    beside_bar = left - _GAP - _SHORTEST_BAR
    if beside_bar < min(name, _SHORTEST_NAME):
        return _Widths(max(1, min(name, left)), *shown, 0)
    name = min(name, beside_bar)
    return _Widths(name, *shown, min(_LONGEST_BAR, left - _GAP - name))


def _left(width: int, columns: tuple[int, ...]) -> int:
    """What the columns leave of the width."""
    return width - sum(_GAP + column for column in columns if column)


def _column(title: str, values: Sequence[str]) -> int:
    """The width of a column; 0 where it would hold nothing."""
    if all(value == NOTHING for value in values):
        return 0
    return max(cell_len(title), *(cell_len(value) for value in values))


def _titles(whole: Interval, widths: _Widths) -> Text:
    line = Text("Steps".ljust(widths.name))
    for title, width in (("Rows", widths.rows), ("Tokens", widths.tokens), ("Duration", widths.duration)):
        if width:
            line.append(" " * _GAP + title.rjust(width))
    if widths.bar:
        end = duration((whole.end - whole.start).total_seconds())
        line.append(" " * _GAP + "0" + end.rjust(widths.bar - 1))
    line.stylize("bold")
    return line


def _line(branch: Branch, whole: Interval, widths: _Widths, marks: Marks) -> Text:
    line = _label(branch, marks)
    _fit(line, widths.name, marks)
    for value, width in (
        (branch.step.rows, widths.rows),
        (branch.step.tokens, widths.tokens),
        (_duration(branch), widths.duration),
    ):
        if width:
            line.append(" " * (_GAP + width - cell_len(value)) + value, style="dim" if value == NOTHING else "")
    if widths.bar:
        drawn = bar(whole, branch.step.ran, widths.bar, marks)
        line.append(" " * (_GAP + drawn.before))
        line.append(drawn.drawn, style=style_of(branch.step.status))
    return line


def _label(branch: Branch, marks: Marks) -> Text:
    """The tree's lines, the mark, the name and the note."""
    step = branch.step
    note = f" {step.note}" if step.note else ""
    return Text.assemble((branch.guide, "dim"), status_mark(step.status, marks), f" {step.name}", (note, "dim"))


def _fit(line: Text, width: int, marks: Marks) -> None:
    """Cut the line off or fill it up, so that it is as wide as asked."""
    _cut(line, width, marks)
    line.pad_right(max(0, width - line.cell_len))


def _problem(branch: Branch, width: int, marks: Marks) -> Text:
    line = Text.assemble((branch.below, "dim"), "  ", (branch.step.problem or "", style_of(branch.step.status)))
    _cut(line, width, marks)
    return line


def _cut(line: Text, width: int, marks: Marks) -> None:
    """Cut the line off where it is wider than asked, and show that."""
    if line.cell_len > width:
        line.truncate(width - len(marks.more))
        line.append(marks.more)


def _duration(branch: Branch) -> str:
    ran = branch.step.ran
    return duration((ran.end - ran.start).total_seconds())
