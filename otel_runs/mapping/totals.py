"""What a run's rows add up to. Pure.

Each token and row counts once: over the leaves that report it. A span that reports usage does not count where a span
below it does (agents repeat the sums of their calls). A nested run is one leaf: it has added up its own rows already,
or states them itself.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from otel_runs.records import ModelRun, Run

_MOST: Final = 2**63 - 1
"""No column holds more. What adds up to more than that was made up, and must not cost the run its row."""


class Usage(NamedTuple):
    """The part of a stored model run that totals need."""

    id: str
    trace_id: str
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
    llm_calls: int | None = None
    """Of a nested run; a model run is one call or none."""
    retry_count: int | None = None
    """Of a nested run."""


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
    """A step failed for good: a failure of it was not followed by another attempt."""


Row = Usage | ModelRun


def usage_of_run(run: Run, parent_id: str | None) -> Usage:
    """A nested run, added up, as one row of the run around it.

    Args:
        run: with its totals.
        parent_id: the row it is below.
    """
    return Usage(
        id=run.id,
        trace_id=run.trace_id,
        run_id=run.parent_run_id or "",
        parent_id=parent_id,
        kind="run",
        name=run.name,
        attempt=1,
        # A failure that was survived inside was survived outside, too.
        status="failed" if run.status in {"failed", "degraded"} else "success",
        rows_in=run.rows_in,
        rows_out=run.rows_out,
        input_tokens=run.input_tokens,
        output_tokens=run.output_tokens,
        tokens=run.tokens,
        cost_usd=run.cost_usd,
        llm_calls=run.llm_calls,
        retry_count=run.retry_count,
    )


def totals_of(rows: Sequence[Row], roots: Collection[str] = ()) -> Totals:
    """Add up the rows of one run; the runs nested in it are rows, too (usage_of_run).

    Args:
        rows: of the run.
        roots: those of them that are root spans beside the one that is the run. What is below them is below the run, so
            they count as above all the others.
    """
    above = {row.id: row.parent_id for row in rows}
    if above.keys().isdisjoint(above.values()):
        above = {}  # none is above another, as in most runs: then there is nowhere to look
    leaves = partial(_leaves, above=above, roots=roots)
    with_tokens = leaves([row for row in rows if row.tokens is not None])
    nested = [row for row in rows if row.kind == "run" and isinstance(row, Usage)]
    calls = len(leaves([row for row in rows if row.kind == "llm"])) + sum(row.llm_calls or 0 for row in nested)
    retries, failed = _attempts(rows)
    return Totals(
        rows_in=sum_of_counts([row.rows_in for row in leaves([row for row in rows if row.rows_in is not None])]),
        rows_out=sum_of_counts([row.rows_out for row in leaves([row for row in rows if row.rows_out is not None])]),
        llm_calls=calls or None,
        input_tokens=sum_of_counts([row.input_tokens for row in with_tokens]),
        output_tokens=sum_of_counts([row.output_tokens for row in with_tokens]),
        tokens=sum_of_counts([row.tokens for row in with_tokens]),
        cost_usd=sum_of_costs([row.cost_usd for row in leaves([row for row in rows if row.cost_usd is not None])]),
        retry_count=retries + sum(row.retry_count or 0 for row in nested),
        failed=failed,
    )


def _leaves(reporting: list[Row], above: Mapping[str, str | None], roots: Collection[str]) -> list[Row]:
    """The rows that report something, less those above another that does.

    Args:
        reporting: all rows that report it.
        above: row -> its parent, of all rows; empty where none of them is above another.
        roots: rows that are above all others.
    """
    covered: set[str] = set(roots) if roots and any(row.id not in roots for row in reporting) else set()
    if not reporting or not (above or covered):
        return reporting
    for row in reporting:
        node = row.parent_id
        while node is not None and node not in covered:
            covered.add(node)
            node = above.get(node)
    return [row for row in reporting if row.id not in covered]


def sum_of_costs(values: Sequence[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    found = [value for value in values if value is not None]
    # Exactly rounded: floats added one by one give another sum in another order, and rows have none.
    return math.fsum(found) if found else None


def sum_of_counts(values: Sequence[int | None]) -> int | None:
    """The sum of those that are known, or the most that a column holds; None where none is known."""
    found = [value for value in values if value is not None]
    return min(sum(found), _MOST) if found else None


def _attempts(rows: Sequence[Row]) -> tuple[int, bool]:
    """How many retries there were, and whether a step failed for good."""
    steps: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in rows:
        if row.attempt > 1 or row.status == "failed":  # few are
            steps.setdefault((row.run_id, row.parent_id, row.name), []).append(row)
    retries = sum(row.attempt > 1 for tries in steps.values() for row in tries)
    return retries, any(map(_failed_for_good, steps.values()))


def _failed_for_good(tries: list[Row]) -> bool:
    """Whether more calls of a step failed in some attempt than went on to another one.

    Args:
        tries: of all its calls; which of them are of one call, no row tells.
    """
    went_on = 0  # that many at least: where a call's second attempt is missing, the third tells of it
    for _, same in groupby(sorted(tries, key=_attempt, reverse=True), key=_attempt):
        rows = list(same)
        if sum(row.status == "failed" for row in rows) > went_on:
            return True
        went_on = max(went_on, len(rows))
    return False


_attempt: Final = attrgetter("attempt")
