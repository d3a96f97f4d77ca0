"""A database that is away for a while, and what waits for it."""

from __future__ import annotations

from pathlib import Path

from otel_runs.export.spooling import spool_of_database
from otel_runs.spool.status import Status, status


def status_of(url: str | Path) -> Status:
    spool = spool_of_database(url)
    assert spool is not None
    return status(spool.folder)


def impatient(file: Path) -> str:
    return f"sqlite:///{file}?timeout=0.05"
