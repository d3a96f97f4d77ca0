"""Spans that could not be stored: those that wait, those in quarantine, those that were dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_runs import settings
from otel_runs.doctor.finding import Finding
from otel_runs.errors import SettingsError
from otel_runs.export.spooling import spool_of_database
from otel_runs.spool.status import status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_runs.spool.status import Status

NEARLY_FULL: Final = 0.8
"""The part of what a spool may take from which on it is told."""
_MEGABYTE: Final = 1024 * 1024


def findings(url: str | None) -> Iterator[Finding]:
    """What is in the spool of a run database."""
    try:
        spool = spool_of_database(url)
    except SettingsError as exc:
        if settings.SPOOL_MAX_BYTES.env not in str(exc):  # that one is told by environment.py
            yield Finding("bad-value", "error", f"{exc}.", "Pipelines keep no spool.", "Correct or unset the variable.")
        return
    if spool is None:
        return
    try:
        found, size = status(spool.folder), spool.bytes()
    except OSError as exc:
        yield Finding(
            "spool",
            "warning",
            f"The spool {spool.folder} cannot be read: {exc.strerror}.",
            "Whether spans wait there cannot be told; another user's pipelines may have made it.",
            "Ask as that user, or permit it.",
        )
        return
    yield from waiting(found)
    yield from nearly_full(found, size, settings.read_as(settings.SPOOL_MAX_BYTES, settings.whole_number))
    yield from quarantined(found)
    yield from dropped(found)


def waiting(found: Status) -> Iterator[Finding]:
    """Spans wait for the database."""
    if found.spans:
        since = f", the oldest since {found.oldest:%Y-%m-%d %H:%M:%S} UTC" if found.oldest else ""
        yield Finding(
            "spooled-spans",
            "warning",
            f"{found.spans:,} spans wait in {found.folder}{since}.",
            "The run database could not be reached when they ended. The next pipeline stores them; so does one that "
            "runs, when the database is back.",
            "otel-runs replay",
        )


def nearly_full(found: Status, size: int, most: int) -> Iterator[Finding]:
    """The spool has little room left."""
    if size > NEARLY_FULL * most:
        yield Finding(
            "full-spool",
            "warning",
            f"{found.folder} takes {size / _MEGABYTE:,.1f} MB of {most / _MEGABYTE:,.1f} MB "
            f"({settings.SPOOL_MAX_BYTES.env}).",
            "When it is full, new spans are dropped.",
            "otel-runs replay; move files of its folder quarantine away when you have looked at them",
        )


def quarantined(found: Status) -> Iterator[Finding]:
    """Some can never be stored as they are."""
    if found.quarantined:
        yield Finding(
            "quarantined-spans",
            "warning",
            f"{found.quarantined:,} lines are in quarantine in {found.folder / 'quarantine'}.",
            "The database refused these spans for good, or the lines are no OTLP. Each says why.",
            "Look at otel_runs.quarantined.reason in them. When the reason is gone: otel-runs import FILE, then delete "
            "it. docs/spool.md",
        )


def dropped(found: Status) -> Iterator[Finding]:
    """Spans were dropped, because the spool or the disk was full."""
    if found.dropped:
        yield Finding(
            "dropped-spans",
            "error",
            f"{found.dropped:,} spans were dropped, because {found.folder} or its disk was full.",
            "What they would have said is missing from their runs.",
            f"Make room, or raise {settings.SPOOL_MAX_BYTES.env}. When you have seen this, delete "
            f"{found.folder}/*.dropped",
        )
