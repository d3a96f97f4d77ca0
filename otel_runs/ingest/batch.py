"""What a batch says, put together before its transaction: into SQLite nobody else can write while that lasts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Self

from otel_runs.ingest.declarations import mentions_of
from otel_runs.ingest.trace import TraceBatch
from otel_runs.mapping.facts import Facts


class Batch:
    """Some traces, and what they say of models. For one transaction: settling changes the traces.

    Args:
        traces: each with what its spans in this batch say.
    """

    def __init__(self, traces: Sequence[TraceBatch]) -> None:
        self.traces = {trace.trace_id: trace for trace in traces}
        self.facts = [facts for trace in traces for facts in trace.facts]
        self.mentions = mentions_of(self.facts)
        """What is said of models, by model id."""

    @classmethod
    def of(cls, facts: Sequence[Facts]) -> Self:
        """A batch of all that some spans say, of any traces, in any order."""
        return cls(_traces_of(facts))


def new_and_others(facts: Sequence[Facts], known: Collection[str]) -> tuple[Batch, Batch]:
    """Of what some spans say, the traces that look whole and new, and all others.

    Args:
        facts: of any traces, in any order.
        known: ids of traces that are not new.
    """
    new: list[TraceBatch] = []
    others: list[TraceBatch] = []
    for trace in _traces_of(facts):
        (new if trace.is_whole and trace.trace_id not in known else others).append(trace)
    return Batch(new), Batch(others)


def _traces_of(facts: Sequence[Facts]) -> list[TraceBatch]:
    by_trace: dict[str, list[Facts]] = defaultdict(list)
    for each in facts:
        by_trace[each.trace_id].append(each)
    return [TraceBatch(trace_id, told) for trace_id, told in by_trace.items()]
