"""How statuses look: a colour and a mark each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from otel_runs.cli.text import one_line

if TYPE_CHECKING:
    from otel_runs.cli.output import Marks

STYLES: Final = {
    "completed": "green",
    "success": "green",
    "degraded": "magenta",
    "failed": "red",
    "running": "yellow",
    "created": "yellow",
    "pending": "yellow",
    "cancelled": "dim",
    "skipped": "dim",
}
_MARKS: Final = {
    "success": "success",
    "completed": "success",
    "degraded": "success",
    "failed": "failed",
    "running": "running",
    "created": "pending",
    "pending": "pending",
    "skipped": "skipped",
    "cancelled": "cancelled",
}


def style_of(status: str) -> str:
    """The colour of a status; none for one that is not known."""
    return STYLES.get(status, "")


def status_text(status: str | None) -> Text:
    """The status in its colour."""
    return Text(one_line(status or "-"), style=style_of(status or ""))


def status_mark(status: str, marks: Marks) -> Text:
    """One character for the status, in its colour."""
    return Text(getattr(marks, _MARKS.get(status, "pending")), style=style_of(status))
