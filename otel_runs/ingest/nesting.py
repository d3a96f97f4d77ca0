"""Runs inside runs: which come first, and which are in a circle. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_runs.mapping.runs import RunState


def endless(run_ids: Iterable[str], runs: Mapping[str, RunState]) -> list[str]:
    """Find the runs from which the way outwards never ends: they are in a circle of runs, or inside one.

    Args:
        run_ids: the runs that are asked for. No other is looked at but those around them.
        runs: the known runs by id; the way ends at a run that is not among them.
    """
    judged: dict[str, bool] = {}
    found = []
    for run_id in run_ids:
        way: dict[str, None] = {}
        at: str | None = run_id
        while at is not None and at in runs and at not in judged and at not in way:
            way[at] = None
            at = runs[at].run.parent_run_id
        is_endless = at is not None and (at in way or judged.get(at, False))
        judged.update(dict.fromkeys(way, is_endless))
        if is_endless:
            found.append(run_id)
    return found


def outermost_first(runs: Mapping[str, RunState]) -> list[RunState]:
    """Put each run behind the run that it is in, for a row must stand before those that refer to it.

    Those that are equally deep are in the order of their ids. Of runs in a circle, one begins.

    Args:
        runs: by id.
    """
    depths: dict[str, int] = {}
    for run_id, state in runs.items():
        if state.run.parent_run_id is None:
            continue  # as nearly all
        way: dict[str, None] = {}
        at: str | None = run_id
        while at is not None and at in runs and at not in depths and at not in way:
            way[at] = None
            at = runs[at].run.parent_run_id
        depth = depths.get(at, -1) if at is not None else -1
        for inside in reversed(way):
            depth += 1
            depths[inside] = depth
    return [runs[run_id] for run_id in sorted(runs, key=lambda run_id: (depths.get(run_id, 0), run_id))]
