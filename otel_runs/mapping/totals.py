"""What a run's rows add up to. Pure.

Each token and row counts once: over the leaves that report it. A span that reports usage does not count where a span
below it does (agents repeat the sums of their calls).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from otel_runs.records import ModelRun


class Usage(NamedTuple):
    """The part of a stored model run that totals need."""

    id: str
    run_id: str
    parent_id: str | None
    kind: str
    name: str
    attempt: int
    status: str
    rows_in: int | None
    rows_out: int | None
    input_tokens: int | None
    output_tokens: int | None
    tokens: int | None
    cost_usd: float | None


class Totals(NamedTuple):
    """What the rows of a run add up to. None: no row reports it."""

    rows_in: int | None
    rows_out: int | None
    llm_calls: int | None
    input_tokens: int | None
    output_tokens: int | None
    tokens: int | None
    cost_usd: float | None
    retry_count: int
    failed: bool
    """A step failed for good: not one that a later attempt of it healed."""


Parents = Mapping[str, str | None]
Row = Usage | ModelRun


def totals_of(rows: Sequence[Row], parents: Parents) -> Totals:
    """Add up the rows of one run and of the runs nested in it.

    Args:
        rows: all model runs of the run, and of the runs below it.
        parents: node -> parent, of nested runs (whose place no row shows).
    """
    above: dict[str, str | None] = {**parents, **{row.id: row.parent_id for row in rows}}
    with_tokens = _leaves(rows, _reports_tokens, above)
    retries, failed = _attempts(rows)
    return Totals(
        rows_in=_sum([row.rows_in for row in _leaves(rows, _reports_rows_in, above)]),
        rows_out=_sum([row.rows_out for row in _leaves(rows, _reports_rows_out, above)]),
        llm_calls=len(_leaves(rows, _is_llm, above)) or None,
        input_tokens=_sum([row.input_tokens for row in with_tokens]),
        output_tokens=_sum([row.output_tokens for row in with_tokens]),
        tokens=_sum([row.tokens for row in with_tokens]),
        # Sorted: floats add up differently in another order, and the order of rows is nobody's promise.
        cost_usd=_sum(sorted(row.cost_usd or 0.0 for row in _leaves(rows, _reports_cost, above))),
        retry_count=retries,
        failed=failed,
    )


def _reports_tokens(row: Row) -> bool:
    return row.tokens is not None


def _reports_rows_in(row: Row) -> bool:
    return row.rows_in is not None


def _reports_rows_out(row: Row) -> bool:
    return row.rows_out is not None


def _reports_cost(row: Row) -> bool:
    return row.cost_usd is not None


def _is_llm(row: Row) -> bool:
    return row.kind == "llm"


def _leaves(rows: Sequence[Row], reports: Callable[[Row], bool], above: Parents) -> list[Row]:
    """The rows that report, less those above another that does."""
    reporting = [row for row in rows if reports(row)]
    covered: set[str] = set()
    for row in reporting:
        node = row.parent_id
        while node is not None and node not in covered:
            covered.add(node)
            node = above.get(node)
    return [row for row in reporting if row.id not in covered]


def _sum(values: Collection[int | None] | Collection[float]) -> int | None:
    found = [value for value in values if value is not None]
    return sum(found) if found else None  # type: ignore[return-value]


def _attempts(rows: Sequence[Row]) -> tuple[int, bool]:
    """How many retries there were, and whether a step failed in its last attempt."""
    last: dict[tuple[str, str | None, str], tuple[int, bool]] = {}
    for row in rows:
        if row.attempt == 1 and row.status != "failed":
            continue
        step = (row.run_id, row.parent_id, row.name)
        attempt, failed = last.get(step, (0, False))
        if row.attempt > attempt:
            last[step] = (row.attempt, row.status == "failed")
        elif row.attempt == attempt:
            last[step] = (attempt, failed or row.status == "failed")
    return sum(attempt - 1 for attempt, _ in last.values()), any(failed for _, failed in last.values())
