"""How the models have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from otel_runs.query.relations import v_model_stats
from otel_runs.query.results import ModelOrder, ModelStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement

    from otel_runs.store.engine import Database

_stats = v_model_stats.c
ORDERS: Final[Mapping[ModelOrder, ColumnElement[Any]]] = {
    "path": _stats.path.asc(),
    "runs": _stats.runs.desc(),
    "success": _stats.success_rate.asc().nulls_last(),
    "average": _stats.avg_ms.desc().nulls_last(),
    "slowest": _stats.max_ms.desc().nulls_last(),
    "latest": _stats.last_started_at.desc().nulls_last(),
}
"""What needs attention comes first."""


def model_statistics(
    database: Database, order: ModelOrder = "path", *, limit: int | None = None
) -> list[ModelStatistics]:
    """Per model: how often it ran, how that ended, how long it took.

    Args:
        database: where to read.
        order: what comes first; ties in the order of paths.
        limit: the most models to return; None for all.

    Raises:
        StoreError: the database could not be read.
    """
    wanted = select(*_stats).order_by(ORDERS[order], _stats.path).limit(limit)
    with database.read() as connection:
        return [ModelStatistics._make(row) for row in connection.execute(wanted)]
