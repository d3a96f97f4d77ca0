"""``otel-runs models``: how each model and step has done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from otel_runs.cli.history import find_history, nothing_yet
from otel_runs.cli.output import fields, hint, print_json, put, stdout
from otel_runs.cli.statuses import status_text
from otel_runs.cli.tables import Column, layout, table
from otel_runs.cli.text import NOTHING, count, duration, one_line, percent, time
from otel_runs.query.runs import list_runs
from otel_runs.query.statistics import model_statistics
from otel_runs.store.location import database_url, shown

if TYPE_CHECKING:
    from otel_runs.query.results import ModelOrder, ModelStatistics

COLUMNS: Final = (
    Column("Model", shrinks=True),
    Column("Runs", right=True, leaves=3),
    Column("Success", right=True, leaves=4),
    Column("Average", right=True, leaves=2),
    Column("Slowest", right=True, leaves=1),
    Column("Last Status"),
    Column("Failed", right=True, optional=True),
    Column("Skipped", right=True, optional=True),
    Column("Kind", optional=True),
    Column("Last Run (UTC)", optional=True),
    Column("Rows", right=True, optional=True),
)

_MS_PER_SECOND: Final = 1000
_ALL: Final = 100


def run_models(url: str | None, order: ModelOrder, *, json: bool) -> None:
    """List the models.

    Raises:
        StoreError: the database could not be read.
    """
    models = _statistics(url, order)
    if json:
        print_json(fields(models))
    if not models:
        hint(_nothing_found(url))
    elif not json:
        console = stdout()
        rows = [_cells(model) for model in models]
        put(console, table(console, layout(console, COLUMNS, rows), rows))


def _statistics(url: str | None, order: ModelOrder) -> list[ModelStatistics]:
    database = find_history(url)
    if database is None:
        return []
    with database:
        return model_statistics(database, order)


def _nothing_found(url: str | None) -> str:
    database = find_history(url)
    if database is None:
        return nothing_yet(url)
    with database:
        if not list_runs(database, limit=1):
            return nothing_yet(url)
    return f"No model or step has run yet in {shown(database_url(url))}: its runs have no steps."


def _cells(model: ModelStatistics) -> list[Text]:
    return [
        Text(one_line(model.path)),
        Text(count(model.runs)),
        Text(percent(model.success_rate), style=_rate_style(model.success_rate)),
        Text(_ms(model.avg_ms)),
        Text(_ms(model.max_ms)),
        status_text(model.last_status),
        Text(count(model.failed)),
        Text(count(model.skipped)),
        Text(one_line(model.kind)),
        Text(time(model.last_started_at)),
        Text(count(model.rows_affected)),
    ]


def _ms(milliseconds: float | None) -> str:
    return NOTHING if milliseconds is None else duration(milliseconds / _MS_PER_SECOND)


def _rate_style(rate: float | None) -> str:
    if rate is None:
        return ""
    return "green" if rate == _ALL else "yellow" if rate > 0 else "red"
