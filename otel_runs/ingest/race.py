"""Where two writers meet at the same new rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from otel_runs.errors import StoreUnavailableError
from otel_runs.mapping.runs import RunState
from otel_runs.store.writer import Writer


class RaceError(StoreUnavailableError):
    """What looked new is not; the transaction must be run again.

    Args:
        traces: ids of traces that looked whole and new, and of which something may be stored.
    """

    def __init__(self, traces: Collection[str] = ()) -> None:
        super().__init__("another writer stored a part of this batch at the same moment; try again")
        self.traces = frozenset(traces)


def insert_new_runs(writer: Writer, states: Sequence[RunState], unread: Collection[str]) -> None:
    """Insert runs of which no row was found.

    Args:
        writer: on a connection in a write transaction.
        states: the runs, those before others that the others are in.
        unread: ids of the traces of which nothing was read, because they look new.

    Raises:
        RaceError: one of the rows is there.
    """
    if states and writer.insert_runs(states) != len(states):
        # Perhaps nobody was faster: of a trace that looked new nothing was read, nor the runs that it is in.
        raise RaceError(unread)
