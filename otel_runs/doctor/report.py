"""What a process that was examined says of itself, in a file for the one who examines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, NamedTuple

VARIABLE: Final = "OTEL_RUNS_DOCTOR"
"""Internal, and so not in the settings' table: the folder for the reports."""


class ProviderSeen(NamedTuple):
    """One tracer provider of the SDK."""

    made_at: str
    """File and line of the code that made it."""
    stores_runs: bool
    roots: int
    """Root spans that it started and recorded."""
    unrecorded_roots: int
    """Root spans that its sampler dropped, so that nobody sees them."""


class Report(NamedTuple):
    """What happened in one process."""

    program: str
    providers: list[ProviderSeen]
    refused: list[str]
    """Where somebody set a global provider when there was one already."""
    strays: dict[str, int]
    """Names of root spans that started in another thread while a root span was open, and how many."""
    lost: int
    """Spans that were dropped or could not be stored."""
    last_error: str | None


def write_report(folder: str, report: Report) -> None:
    """Leave the report of this process; whole or not at all."""
    path = Path(folder, f"{os.getpid()}.json")
    unfinished = path.with_suffix(".unfinished")
    text = json.dumps({**report._asdict(), "providers": [seen._asdict() for seen in report.providers]})
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def read_reports(folder: str) -> list[Report]:
    """The reports of all processes that ended as processes do; a killed one leaves none."""
    found = []
    for path in sorted(Path(folder).glob("*.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        found.append(Report(**{**fields, "providers": [ProviderSeen(**seen) for seen in fields["providers"]]}))
    return found
