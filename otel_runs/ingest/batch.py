"""What a batch says, put together before its transaction: into SQLite nobody else can write while that lasts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from otel_runs.ingest.declarations import mentions_of
from otel_runs.ingest.trace import TraceBatch
from otel_runs.mapping.facts import Facts


class Batch:
    """The facts of a batch by what they are about. For one transaction: settling changes the traces.

    Args:
        facts: what the spans of the batch say; of any traces, in any order.
    """

    def __init__(self, facts: Sequence[Facts]) -> None:
        self.facts = facts
        by_trace: dict[str, list[Facts]] = defaultdict(list)
        for each in facts:
            by_trace[each.trace_id].append(each)
        self.traces = {trace_id: TraceBatch(trace_id, told) for trace_id, told in by_trace.items()}
        self.mentions = mentions_of(facts)
        """What is said of models, by model id."""
