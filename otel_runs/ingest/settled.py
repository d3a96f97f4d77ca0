"""One batch as it shall be stored, and the writing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from otel_runs.ingest.declarations import Mentions, declare_models, insert_models, save_environments
from otel_runs.ingest.nesting import outermost_first
from otel_runs.ingest.race import RaceError, insert_new_runs
from otel_runs.ingest.trace import TraceBatch
from otel_runs.mapping.facts import Facts
from otel_runs.mapping.losses import Loss
from otel_runs.mapping.runs import RunState
from otel_runs.records import ModelRun
from otel_runs.store.bulk import Packed
from otel_runs.store.writer import Writer


@dataclass(frozen=True)
class Settled:
    """What a batch makes of what is stored."""

    traces: Sequence[TraceBatch]
    """Of the batch, placed."""
    facts: Sequence[Facts]
    """As they came: of a root span that turned out to be a step, what it says as a run, too."""
    mentions: Mapping[str, Mentions]
    """What is said of models, by model id."""
    runs: Mapping[str, RunState]
    """Runs as they shall be."""
    stored_runs: Mapping[str, RunState]
    """Runs as they are stored, locked."""
    dropped: Sequence[str]
    """Root runs that turned out to be none."""
    rows: Sequence[ModelRun]
    """Model runs that are new, or shall be otherwise."""
    stored_rows: Mapping[str, ModelRun]
    """Model runs of the batch as they are stored."""
    moves: Mapping[str, tuple[str, str]]
    """Stored model run -> the run it was in, and the run it is in."""
    packed: Sequence[Packed] = ()
    """The rows, ready to be written, where none is stored; empty: that is made as they are written."""

    def write(self, writer: Writer) -> None:
        """Write what has changed. Runs first, then models: model runs refer to both.

        Args:
            writer: on a connection in a write transaction; that in which the batch was settled, if it was in one.

        Raises:
            RaceError: what looked new is not.
        """
        new = {id_: state for id_, state in self.runs.items() if id_ not in self.stored_runs}
        insert_new_runs(writer, outermost_first(new), self._unread)
        self._look_again(writer)
        writer.save_runs([self.runs[id_] for id_ in sorted(self.runs.keys() - new.keys()) if self._is_changed(id_)])
        insert_models(writer, self.mentions)
        for trace in self.traces:
            if trace.root_run in self.stored_runs:
                writer.replace_parents(trace.trace_id, trace.replaced_parents())
        writer.move_model_runs({row: run_id for row, (_, run_id) in self.moves.items()})
        new_rows = [row for row in self.rows if row.id not in self.stored_rows]
        if new_rows:
            writer.insert_model_runs(self.packed or writer.packed_model_runs(new_rows))
        writer.save_model_runs([row for row in self.rows if row.id in self.stored_rows])
        self._write_lost_steps(writer)
        writer.insert_links([link for trace in self.traces for link in trace.new_links()])
        writer.save_links([link for trace in self.traces for link in trace.changed_links()])
        writer.delete_runs(self.dropped)
        declare_models(writer, self.mentions)
        save_environments(writer, self.facts)

    def lost_of(self, losses: Sequence[Loss]) -> set[str]:
        """The runs, of those that were said to be lost, that count as lost now."""
        return {loss.run_id for loss in losses if loss.run_id in self.runs and self.runs[loss.run_id].is_lost}

    @property
    def _unread(self) -> list[str]:
        """Ids of the traces that look new, of which nothing was read."""
        return [trace.trace_id for trace in self.traces if trace.root_run not in self.stored_runs]

    def _is_changed(self, run_id: str) -> bool:
        return self.stored_runs.get(run_id) != self.runs[run_id]

    def _look_again(self, writer: Writer) -> None:
        """Refuse what looked new if it is not.

        Only now, behind the lock, is this sure: rows and links of a keyed run that came from another process stand
        alone, without a row of the trace's root run.
        """
        unread = self._unread
        met = writer.traces_with_rows(unread) if unread else []
        if met:
            raise RaceError(met)

    def _write_lost_steps(self, writer: Writer) -> None:
        """End the open model runs that went with their runs, and open those again that were ended so and did not.

        Of rows that were written otherwise just now, too: that they end with their run is no fact of theirs.
        """
        lost = {id_: state for id_, state in self.runs.items() if state.ends_open_steps}
        was_lost = {id_ for id_, state in self.stored_runs.items() if state.ends_open_steps}
        if not lost and not was_lost:
            return
        entered = {row.run_id for row in self.rows} | {run_id for _, run_id in self.moves.values()}
        writer.lose_steps(
            {id_: state.run.completed_at or 0 for id_, state in lost.items() if id_ in entered or self._is_changed(id_)}
        )
        left = {after for before, after in self.moves.values() if before in was_lost}
        writer.revive_steps((was_lost | left) - lost.keys())
