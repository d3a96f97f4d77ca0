"""From a run's rows to the lines of a tree: what hangs on what, in order of start. No terminal."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_runs.cli.text import NOTHING, count, one_line, short_id
from otel_runs.cli.timeline import interval

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from otel_runs.cli.output import Marks
    from otel_runs.cli.timeline import Interval
    from otel_runs.query.results import RunTree, StoredModelRun, StoredRun

DEEPEST: Final = 12
"""Levels that are indented; what lies deeper is drawn at this one."""

_UNREMARKABLE_KINDS: Final = frozenset({"step", "model"})


class Step(NamedTuple):
    """A model run or nested run as the tree shows it."""

    id: str
    above: tuple[str, ...]
    """Ids of what it hangs on; the first that the tree has counts, and without any it stands at the top."""
    status: str
    name: str
    note: str
    """What else tells it from others: kind, attempt, short id."""
    rows: str
    tokens: str
    ran: Interval
    problem: str | None
    """Why it failed or was skipped, in one line."""


class Branch(NamedTuple):
    """One line of the tree."""

    step: Step
    guide: str
    """The lines of the tree before the step."""
    below: str
    """The lines of the tree before what is told about the step underneath it."""


def branches(tree: RunTree, now: datetime, marks: Marks) -> list[Branch]:
    """The lines of the tree, from top to bottom.

    Args:
        tree: a run and what hangs on it, in order of start.
        now: the end of what still runs.
        marks: what draws the lines of the tree.
    """
    steps = [_step_from_run(run, now, marks) for run in tree.nested_runs]
    steps += [_step_from_model_run(model_run, now, marks) for model_run in tree.model_runs]
    steps.sort(key=lambda step: (step.ran.start, step.id))
    return list(_lines(steps, marks))


def _step_from_run(run: StoredRun, now: datetime, marks: Marks) -> Step:
    return Step(
        id=run.id,
        above=(run.parent_run_id or "",),
        status=run.status,
        name=one_line(run.name),
        note=f"run {short_id(run.root_span_id or run.id)}",
        rows=_rows(run.rows_in, run.rows_out, None, marks),
        tokens=count(run.tokens),
        ran=interval(run.started_at, run.completed_at, run.duration_ns, now),
        problem=_problem(run.status, run.error, run.stop_reason),
    )


def _step_from_model_run(model_run: StoredModelRun, now: datetime, marks: Marks) -> Step:
    kind = "" if model_run.kind in _UNREMARKABLE_KINDS else model_run.kind
    attempt = f"attempt {model_run.attempt}" if model_run.attempt > 1 else ""
    return Step(
        id=model_run.id,
        above=(model_run.parent_id or "", model_run.run_id),
        status=model_run.status,
        name=one_line(model_run.name),
        note=" ".join(one_line(part) for part in (kind, model_run.llm_model or "", attempt) if part),
        rows=_rows(model_run.rows_in, model_run.rows_out, model_run.rows_affected, marks),
        tokens=count(model_run.tokens),
        ran=interval(model_run.started_at, model_run.completed_at, model_run.duration_ns, now),
        problem=_problem(model_run.status, model_run.error, model_run.stop_reason),
    )


def _rows(rows_in: int | None, rows_out: int | None, affected: int | None, marks: Marks) -> str:
    """``in → out``; without the first, what was written."""
    written = rows_out if affected is None else affected
    if rows_in is None:
        return count(written)
    return f"{count(rows_in)} {marks.arrow} {NOTHING if written is None else count(written)}"


def _problem(status: str, error: str | None, stop_reason: str | None) -> str | None:
    if status == "failed":
        first_line = (error or "").strip().partition("\n")[0]
        return one_line(first_line or stop_reason or "") or None
    if status in {"skipped", "cancelled"} and stop_reason and stop_reason != status:
        return one_line(stop_reason)
    return None


def _lines(steps: list[Step], marks: Marks) -> Iterator[Branch]:
    """Depth first, without recursion: a tree may be deeper than Python's stack."""
    children = _children(steps)
    drawn: set[str] = set()
    # What only hangs on itself, in a circle, is reached from no top: it is drawn from where it is met.
    for starts in (children.pop(None, []), steps):
        tops = [step for step in starts if step.id not in drawn]
        waiting = [(step, "", step is tops[-1], 0) for step in reversed(tops)]
        while waiting:
            step, indent, last, depth = waiting.pop()
            if step.id in drawn:
                continue
            drawn.add(step.id)
            below = indent + (marks.tree_gap if last else marks.tree_line)
            under = children.get(step.id, [])
            yield Branch(step, indent + (marks.tree_last if last else marks.tree_child), below)
            deeper = below if depth < DEEPEST else indent
            waiting += [(child, deeper, child is under[-1], depth + 1) for child in reversed(under)]


def _children(steps: list[Step]) -> dict[str | None, list[Step]]:
    known = {step.id for step in steps}
    children: dict[str | None, list[Step]] = defaultdict(list)
    for step in steps:
        parent = next((row_id for row_id in step.above if row_id in known and row_id != step.id), None)
        children[parent].append(step)
    return children
