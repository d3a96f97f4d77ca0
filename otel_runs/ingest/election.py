"""Which of several root spans of a trace is its run, in one batch (mapping/roots.py)."""

from __future__ import annotations

from typing import NamedTuple

from otel_runs.ingest.trace import TraceBatch
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
    arrived = [facts.run for facts in trace.facts if facts.run is not None and facts.node_id in trace.plain_roots]
    roots = arrived if stored is None else [*arrived, stored]
    if is_keyed:
        root = None
    elif arrived:
        root = elected_root(roots)
    else:
        return None
    steps = [step_of_root(run) for run in roots if run.root_span_id != root]
    if not steps:
        return None
    told = [
        facts
        for facts in trace.facts
        if facts.run is None or facts.node_id not in trace.plain_roots or facts.run.root_span_id == root
    ]
    is_unseated = stored is not None and stored.root_span_id != root
    return Elected(TraceBatch(trace.trace_id, told + steps, {step.node_id for step in steps}), is_unseated)
