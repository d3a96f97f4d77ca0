"""What the shell offers when a person presses Tab.

Silent when something is wrong: there is no place to say it.

Whoever can send a span chooses names, and what is offered reaches the shell's command line, in zsh by way of its eval.
So only what no shell acts on is offered.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

import typer

from otel_runs.cli.text import SHORT_ID
from otel_runs.query.results import MODEL_ORDERS
from otel_runs.records import RUN_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUNS_OFFERED: Final = 30

# A word that needs no quotes in any shell. What it begins with is narrower: - begins an option, = is zsh's for a path.
_OFFERED: Final = re.compile(r"[\w./][\w.:@%+,/=-]*", re.ASCII)
_NOT_TOLD: Final = re.compile(r"[^\w.:@%+,/=-]+", re.ASCII)
_NAME_TOLD: Final = 30
"""Characters of a name beside an id: typer breaks lines that are too long, and fish takes each line for an offer."""


def statuses(incomplete: str) -> list[str]:
    """Statuses of a run."""
    return _beginning_with(incomplete, RUN_STATUSES)


def model_orders(incomplete: str) -> list[str]:
    """Orders of the list of models."""
    return _beginning_with(incomplete, MODEL_ORDERS)


def names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of runs."""
    return _beginning_with(incomplete, _values(context, "name"))


def environments(context: typer.Context, incomplete: str) -> list[str]:
    """Environments of runs."""
    return _beginning_with(incomplete, _values(context, "environment"))


def run_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of the latest runs, each with what tells it from the others."""
    return list(_offered_runs(context, incomplete))


def _beginning_with(incomplete: str, values: tuple[str, ...] | list[str]) -> list[str]:
    return [value for value in values if value.startswith(incomplete) and _OFFERED.fullmatch(value)]


def _told(text: str) -> str:
    """The text as help: typer's script for zsh evaluates that, too, and rich reads markup in it."""
    return _NOT_TOLD.sub(" ", text).strip()


def _values(context: typer.Context, column: Literal["name", "environment"]) -> list[str]:
    with suppress(Exception):  # see the module's docstring
        from otel_runs.query.runs import list_values  # loads SQLAlchemy
        from otel_runs.store.engine import open_database

        with open_database(_database(context), create=False) as database:
            return list_values(database, column)
    return []


def _offered_runs(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    with suppress(Exception):  # see the module's docstring
        from otel_runs.query.filters import RunFilters  # loads SQLAlchemy
        from otel_runs.query.runs import list_runs
        from otel_runs.store.engine import open_database

        with open_database(_database(context), create=False) as database:
            runs = list_runs(database, RunFilters(top_level=True), limit=_RUNS_OFFERED)
        for run in runs:
            offered = run.id if len(incomplete) > SHORT_ID else run.id[:SHORT_ID]
            if offered.startswith(incomplete):
                yield offered, _told(f"{run.name[:_NAME_TOLD]} {run.status} {run.started_at:%Y-%m-%d %H:%M:%S}")


def _database(context: typer.Context) -> str | None:
    above = context.parent.params.get("db") if context.parent is not None else None
    return context.params.get("db") or above
