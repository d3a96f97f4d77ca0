"""All checks, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_runs.doctor import clocks, contexts, database, environment, files, runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from otel_runs.doctor.finding import Finding


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
    if examined.url is not None or not environment.names_bad_database(examined.environ):
        yield from files.findings(examined.url)
        opened, problems = database.findings(examined.url)
        yield from problems
        if opened is not None:
            with opened:
                yield from runs.findings(opened, examined.now, examined.environ)
                yield from clocks.findings(opened, examined.now)
                yield from contexts.findings(opened)
