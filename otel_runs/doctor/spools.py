"""Spans that could not be stored: those that wait, those in quarantine, those that were dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otel_runs import settings
from otel_runs.amounts import many
from otel_runs.doctor.finding import Finding
from otel_runs.errors import SettingsError
from otel_runs.export.spooling import (
    check_settings,
    spool_of_database,
    spool_of_endpoint,
    spools_beside,
    spools_of_endpoints,
)
from otel_runs.spool.status import status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_runs.spool.spool import Spool
    from otel_runs.spool.status import Status

NEARLY_FULL: Final = 0.8
"""The part of what a spool may take from which on it is told."""
_MEGABYTE: Final = 1024 * 1024


class Destination(NamedTuple):
    """Whom spans wait for."""

    name: str
    who_stores: str
    """Which pipelines bring the spans home by themselves."""
    replay: str
    """The command that does."""


_DATABASE: Final = Destination(
    "run database",
    "The next pipeline stores them; so does one that runs, when the database is back.",
    "otel-runs replay",
)


def findings(url: str | None) -> Iterator[Finding]:
    """What is in the spool of a run database."""
    try:
        check_settings()
        spool = spool_of_database(url)
    except SettingsError as exc:
        yield from _no_place(exc)
        return
    if spool is not None:
        yield from _in_spool(spool, _DATABASE)
        yield from _beside(spool)


def findings_of_endpoints() -> Iterator[Finding]:
    """What is in the spools of OTLP endpoints, of pipelines that store nothing themselves."""
    try:
        check_settings()
        spools, own = spools_of_endpoints(), spool_of_endpoint(None)
    except SettingsError:
        return  # told of the database's, or by environment.py
    for spool in spools:
        is_own = own is not None and spool.folder == own.folder
        command = f"{settings.DB.env}=none otel-runs replay" if is_own else "otel-runs replay --otlp-endpoint URL"
        hint = "" if is_own else ", with the URL as the pipelines name it: the folder's name begins like it"
        who = "The next pipeline sends them, after a batch that the endpoint takes."
        yield from _in_spool(spool, Destination("OTLP endpoint", who, f"{command}{hint}"))


def _beside(spool: Spool) -> Iterator[Finding]:
    """Spans that wait for databases of other URLs; those of endpoints are told by `findings_of_endpoints`."""
    for other in spools_beside(spool):
        if not other.is_endpoints:
            yield Finding(
                "other-spool",
                "warning",
                f"{other.folder} holds {many(other.files, 'file', 'files')} of spans that wait for the database of "
                "another URL.",
                "Pipelines that name it so store them. If that URL was wrong and has been corrected, nobody does.",
                f"otel-runs replay --db URL, as it was; or otel-runs import {other.folder}/*.jsonl, then delete these",
            )


def _no_place(exc: SettingsError) -> Iterator[Finding]:
    if str(exc).startswith(tuple(setting.env for setting in settings.SETTINGS)):
        return  # told by environment.py
    yield Finding(
        "spool",
        "error",
        f"{exc}.",
        "Pipelines that start here keep no spool.",
        f"Start them in a folder that can be read, or name one by its whole path: {settings.SPOOL.env}.",
    )


def _in_spool(spool: Spool, destination: Destination) -> Iterator[Finding]:
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
    yield from waiting(found, destination)
    yield from nearly_full(found, size, settings.value(settings.SPOOL_MAX_BYTES), destination)
    yield from quarantined(found, destination)
    yield from dropped(found)


def waiting(found: Status, destination: Destination) -> Iterator[Finding]:
    """Spans wait for their destination."""
    if found.spans:
        since = f", the oldest since {found.oldest:%Y-%m-%d %H:%M:%S} UTC" if found.oldest else ""
        yield Finding(
            "spooled-spans",
            "warning",
            f"{many(found.spans, 'span waits', 'spans wait')} in {found.folder}{since}.",
            f"The {destination.name} could not be reached when they ended. {destination.who_stores}",
            destination.replay,
        )


def nearly_full(found: Status, size: int, most: int, destination: Destination) -> Iterator[Finding]:
    """The spool has little room left."""
    if size > NEARLY_FULL * most:
        yield Finding(
            "full-spool",
            "warning",
            f"{found.folder} takes {size / _MEGABYTE:,.1f} MB of {most / _MEGABYTE:,.1f} MB "
            f"({settings.SPOOL_MAX_BYTES.env}).",
            "When it is full, new spans are dropped.",
            f"{destination.replay}; move files of its folder quarantine away when you have looked at them",
        )


def quarantined(found: Status, destination: Destination) -> Iterator[Finding]:
    """Some can never be stored as they are."""
    if found.quarantined:
        yield Finding(
            "quarantined-spans",
            "warning",
            f"{many(found.quarantined, 'line is', 'lines are')} in quarantine in {found.folder / 'quarantine'}.",
            f"The {destination.name} refused these spans for good, or the lines are no OTLP. Each says why.",
            "Look at otel_runs.quarantined.reason in them. When the reason is gone: otel-runs import FILE, then delete "
            "it. docs/spool.md",
        )


def dropped(found: Status) -> Iterator[Finding]:
    """Spans were dropped, because the spool or the disk was full."""
    if found.dropped:
        yield Finding(
            "dropped-spans",
            "error",
            f"{many(found.dropped, 'span was', 'spans were')} dropped, because {found.folder} or its disk was full.",
            "What they would have said is missing from their runs.",
            f"Make room, or raise {settings.SPOOL_MAX_BYTES.env}. When you have seen this, delete "
            f"{found.folder}/*.dropped",
        )
