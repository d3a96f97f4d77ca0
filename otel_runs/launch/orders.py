"""What ``otel-runs exec`` tells the Python processes below it, in one environment variable; and what they report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

VARIABLE: Final = "OTEL_RUNS_EXEC"
"""Internal, and so not in the settings' table."""


class Orders(NamedTuple):
    """What to do in a Python process before its program starts."""

    runs: tuple[str, ...] = ()
    """``package.module:pattern`` of the functions that are runs of their own."""
    steps: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    report: str | None = None
    """File for the exception that ends the process; only the first process in a line of descent has it."""

    @property
    def name_functions(self) -> bool:
        """Whether the user has said which functions count; if not, whatever libraries do counts."""
        return bool(self.runs or self.steps or self.models)

    def to_text(self) -> str:
        """The orders as the variable's value."""
        return json.dumps(self._asdict())


def orders_from_text(text: str) -> Orders:
    """The orders from the variable's value."""
    fields = json.loads(text)
    return Orders(tuple(fields["runs"]), tuple(fields["steps"]), tuple(fields["models"]), fields["report"])


class Report(NamedTuple):
    """The exception that nobody caught."""

    type: str
    message: str
    stacktrace: str


def write_report(path: str, report: Report) -> None:
    """Leave the report for the parent; whole or not at all."""
    unfinished = Path(f"{path}.{os.getpid()}")
    unfinished.write_text(json.dumps(report), encoding="utf-8")
    unfinished.replace(path)


def read_report(path: Path) -> Report | None:
    """The last report that a child left, or None."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return Report(*json.loads(text)) if text else None
