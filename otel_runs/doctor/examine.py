"""All checks, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_runs.doctor import clocks, contexts, database, environment, files, runs, spools
from otel_runs.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime


class Examined(NamedTuple):
    """What is examined."""

    url: str | None
    """The run database, as it was given; None: that of the environment."""
    environ: Mapping[str, str]
    now: datetime


def examine(examined: Examined) -> Iterator[Finding]:
    """What is wrong with the environment, the run database and what it holds.

    The tables are read only where they can be.
    """
    yield from environment.findings(examined.environ)
    yield from spools.findings_of_endpoints()
    if examined.url is None and environment.stores_nothing(examined.environ):
        yield _elsewhere()
    elif examined.url is not None or not environment.names_bad_database(examined.environ):
        yield from files.findings(examined.url)
        yield from spools.findings(examined.url)
        opened, problems = database.findings(examined.url)
        yield from problems
        if opened is not None:
            with opened:
                yield from runs.findings(opened, examined.now, examined.environ)
                yield from clocks.findings(opened, examined.now)
                yield from contexts.findings(opened)


def _elsewhere() -> Finding:
    return Finding(
        "database",
        "note",
        "The run database is none: pipelines of this environment store nothing themselves.",
        "Their runs are where the OTLP endpoint sends them; no tables were looked at.",
        "Name that database to have it looked at, too: otel-runs doctor --db URL",
    )
