"""What is in a spool, for people who ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from otel_runs.errors import DecodeError
from otel_runs.spans.from_otlp_json import json_from_bytes
from otel_runs.spool import files
from otel_runs.spool.spool import QUARANTINE, dropped_in


class Status(NamedTuple):
    """What is in a spool now."""

    folder: Path
    files: int
    """Files with spans that wait."""
    bytes: int
    """Of these files."""
    spans: int
    """Spans that wait, and log records of open ones."""
    oldest: datetime | None
    """When the oldest file was begun."""
    quarantined: int
    """Lines in quarantine: spans that can never be stored, and lines that cannot be read."""
    dropped: int
    """Spans that processes had to drop because the spool was full, as far as they could note it."""


def status(folder: Path) -> Status:
    """What is in a spool now. Reads its files, some five seconds a gigabyte; changes nothing.

    Raises:
        OSError: its folder or a file cannot be read.
    """
    waiting = files.paths_in(folder)
    size = spans = 0
    for path in waiting:
        for line in _lines(path):
            size += len(line)
            spans += _spans_in(line)
    return Status(
        folder,
        len(waiting),
        size,
        spans,
        _begun(waiting[0]) if waiting else None,
        sum(1 for path in files.paths_in(folder / QUARANTINE) for _ in _lines(path)),
        dropped_in(folder),
    )


def _lines(path: Path) -> Iterator[bytes]:
    with suppress(FileNotFoundError), path.open("rb") as stream:  # replayed meanwhile
        yield from stream


def _spans_in(line: bytes) -> int:
    """Spans and log records in a line as we write it; none in one that is damaged."""
    try:
        document = json_from_bytes(line)
        return sum(
            len(of_scope[items])
            for signal, items in (("Spans", "spans"), ("Logs", "logRecords"))
            for of_resource in document.get(f"resource{signal}", ())
            for of_scope in of_resource[f"scope{signal}"]
        )
    except (DecodeError, LookupError, TypeError, AttributeError):
        return 0


def _begun(path: Path) -> datetime:
    """When a file was begun, as its name says; of a name of somebody else's, when it was written last."""
    try:
        return datetime.strptime(path.name.partition("-")[0], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
