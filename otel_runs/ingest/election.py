"""Which of several root spans of a trace is its run, in one batch (mapping/roots.py)."""

from __future__ import annotations

from typing import NamedTuple

from otel_runs.ids import row_id_from_span
from otel_runs.ingest.trace import TraceBatch
from otel_runs.mapping.facts import Facts
from otel_runs.mapping.roots import elected_root, step_of_root
from otel_runs.records import Run


class Elected(NamedTuple):
    """A trace in which no root span but one speaks for the run."""

    trace: TraceBatch
    is_unseated: bool
    """The stored run is another root span's from now on, or none; it has become a step in the trace."""


def elected(trace: TraceBatch, stored: Run | None, *, is_keyed: bool) -> Elected | None:
    """Make all root spans but one steps of the run; None where there is nothing to choose, as nearly always.

    Args:
        trace: as it arrived.
        stored: its root run as its own span states it; None: no such span is stored.
        is_keyed: a root span is a part of a run with a key, so that none is a run by itself.
    """
    stored_node = None if stored is None else row_id_from_span(trace.trace_id, stored.root_span_id or "")
    roots = trace.plain_roots.keys() | ({stored_node} - {None})
    if not roots or not (is_keyed or (trace.plain_roots and len(roots) > 1)):
        return None
    arrived = [facts.run for facts in trace.facts if facts.run is not None and facts.node_id in trace.plain_roots]
    root = None if is_keyed else elected_root([*arrived, *([] if stored is None else [stored])])
    unseated = stored if stored is not None and stored.root_span_id != root else None
    facts = [_as_elected(each, root, unseated) if each.node_id in trace.plain_roots else each for each in trace.facts]
    others = {each.node_id for each in facts if each.node_id in trace.plain_roots and each.run is None}
    if unseated is not None:
        step = step_of_root(unseated, unseated.service_name or "")
        facts.append(step)
        others.add(step.node_id)
    return Elected(TraceBatch(trace.trace_id, facts, others), unseated is not None)


def _as_elected(facts: Facts, root: str | None, unseated: Run | None) -> Facts:
    run = facts.run
    if run is None:
        return facts
    if run.root_span_id != root:
        return step_of_root(run, facts.service_name)
    # That the run was declared lost is said of the run, whichever span was taken for it.
    return facts if unseated is None else facts._replace(run=run._replace(lost_at=unseated.lost_at))
