"""One batch, settled against what is stored, and written inside one write transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from otel_runs.errors import StoreUnavailableError, StoreValueError
from otel_runs.ids import run_id_from_trace
from otel_runs.ingest.batch import Batch
from otel_runs.ingest.declarations import declare_models, insert_models, mentions_of, save_environments
from otel_runs.ingest.derivation import Derivation
from otel_runs.ingest.election import elected
from otel_runs.ingest.trace import TraceBatch
from otel_runs.mapping.facts import Facts
from otel_runs.mapping.merge import merge_model_runs
from otel_runs.mapping.runs import (
    RunState,
    keyed_part,
    placeholder,
    stated_part,
    with_last_sign,
    with_seen,
    with_stated,
)
from otel_runs.records import ModelRun, Run
from otel_runs.store.bulk import Packed
from otel_runs.store.writer import Link, NothingStored, Writer


class RaceError(StoreUnavailableError):
    """What looked new is not; the transaction must be run again.

    Args:
        traces: ids of traces that looked whole and new, and of which something may be stored.
    """

    def __init__(self, traces: Collection[str] = ()) -> None:
        super().__init__("another writer stored a part of this batch at the same moment; try again")
        self.traces = frozenset(traces)


def _require_own(id_: str, stored: str, arrived: str) -> None:
    """Let no trace write the row of another: their ids are equal if the traces begin alike and reuse a span id."""
    if stored != arrived:
        msg = f"row {id_} belongs to trace {stored}, which begins like this one and has a span of the same id"
        raise StoreValueError(msg)


class Loss(NamedTuple):
    """Somebody's word that a run is lost. It holds while no later heartbeat and no end of the run is known."""

    run_id: str
    trace_id: str
    """Of the run's row."""
    heartbeat_at: int
    """The last sign of life that is known to who says so."""


class Settlement:
    """The work of one transaction.

    Args:
        batch: of which nothing has been settled yet.
        known: ids of traces that may look new, and are known not to be (see RaceError).
        losses: what is said of runs beside the batch.
    """

    _writer: Writer

    def __init__(self, batch: Batch, known: Collection[str] = (), losses: Sequence[Loss] = ()) -> None:
        self._facts = batch.facts
        self._mentions = batch.mentions
        self._not_new = known
        self._losses = losses
        untold = {loss.trace_id for loss in losses} - batch.traces.keys()
        traces = batch.traces | {trace_id: TraceBatch(trace_id, []) for trace_id in untold}
        self._traces = [traces[trace_id] for trace_id in sorted(traces)]
        self._known: list[TraceBatch] = []
        """Traces of which something may be stored."""
        self._stored: dict[str, RunState] = {}
        """Runs as they are stored, locked."""
        self._guards: set[str] = set()
        """Root runs inserted by us as a lock; each goes again unless something turns out to be in it."""
        self._runs: dict[str, RunState] = {}
        """Runs as they shall be."""
        self._links: dict[str, list[Link]] = defaultdict(list)
        """Stored links by trace."""
        self._dropped: list[str] = []
        """Root runs that turned out to be none."""
        self._stored_rows: dict[str, ModelRun] = {}
        """Model runs of the batch as they are stored."""
        self._moves: dict[str, tuple[str, str]] = {}
        """Stored model run -> the run it was in, and the run it is in."""
        self._rows: list[ModelRun] = []
        """Model runs to write."""
        self._packed: list[Packed] = []
        """The same, ready to be written; empty: that is made as they are written."""

    def settle(self, writer: Writer) -> None:
        """Read what is stored, and settle the batch against it.

        Args:
            writer: on a connection in a write transaction.
        """
        self._writer = writer
        self._lock()
        self._elect()
        if self._known:
            self._load()
        for trace in self._traces:
            self._place(trace)
        for trace in self._traces:
            self._state_runs(trace)
        self._state_losses()
        self._rows = self._changed_rows()
        self._derive(self._rows)

    def presume_new(self, dialect: str) -> None:
        """Settle the batch, whole traces, before its transaction, as if nothing of them were stored.

        Args:
            dialect: the name of the database.
        """
        nothing = NothingStored(dialect)
        self.settle(nothing)
        self._packed = list(nothing.packed_model_runs(self._rows))

    def is_new(self, writer: Writer) -> bool:
        """Whether nothing is stored of the runs that the batch names; where something is, it is locked."""
        return not writer.lock_runs(self._named)

    @property
    def lost(self) -> set[str]:
        """The runs, of those that were said to be lost, that count as lost now."""
        return {loss.run_id for loss in self._losses if loss.run_id in self._runs and self._runs[loss.run_id].is_lost}

    # Reading.

    def _lock(self) -> None:
        """Lock the traces, and the other runs that the batch names.

        A trace that can only be new is locked by the insert of its root run, later. Any other unknown trace is locked
        by a placeholder now, so that what is read afterwards is the last word.
        """
        self._stored = self._writer.lock_runs(self._named)
        guards = [
            placeholder(trace.root_run, None, trace.seen_by(trace.root_run) or trace.seen)
            for trace in self._traces
            if trace.root_run not in self._stored and (not trace.is_whole or trace.trace_id in self._not_new)
        ]
        self._insert(guards)
        self._guards = {state.run.id for state in guards}
        self._stored.update((state.run.id, state) for state in guards)
        self._runs = dict(self._stored)

    @cached_property
    def _named(self) -> set[str]:
        """The runs that the batch names, and those of its traces."""
        named = {trace.root_run for trace in self._traces}
        named.update(facts.run_id for facts in self._facts if facts.run_id)
        named.update(facts.run.id for facts in self._facts if facts.run is not None)
        named.update(loss.run_id for loss in self._losses)
        return named

    def _elect(self) -> None:
        """Where a trace has several root spans, let one be the run, and none if the trace is in a run with a key."""
        known = [trace.trace_id for trace in self._traces if trace.root_run in self._stored]
        for link in self._writer.links_of_traces(known):
            self._links[link.trace_id].append(link)
        before = self._traces
        self._traces = [self._with_one_root(trace) for trace in before]
        self._known = [trace for trace in self._traces if trace.root_run in self._stored]
        if self._traces != before:
            self._mentions = mentions_of([facts for trace in self._traces for facts in trace.facts])

    def _with_one_root(self, trace: TraceBatch) -> TraceBatch:
        state = self._stored.get(trace.root_run)
        links = self._links.get(trace.trace_id, ())
        is_keyed = trace.home != trace.root_run or any(link.parent_id is None for link in links)
        if state is None and not is_keyed and len(trace.plain_roots) <= 1:
            return trace  # as nearly all
        stored = None if state is None or state.is_placeholder else stated_part(state)
        found = elected(trace, stored, is_keyed=is_keyed)
        if found is None:
            return trace
        if found.is_unseated and state is not None:
            self._runs[trace.root_run] = state._replace(run=state.run._replace(root_span_id=None))
        return found.trace

    def _load(self) -> None:
        """Read what is stored of the traces that are not new."""
        trace_ids = [trace.trace_id for trace in self._known]
        nested: dict[str, list[str]] = defaultdict(list)
        for state in self._writer.runs_of_traces(trace_ids):
            self._remember(state)
            if state.run.id != run_id_from_trace(state.run.trace_id):
                nested[state.run.trace_id].append(state.run.id)
        for trace in self._known:
            links = self._links.get(trace.trace_id, ())
            trace.join_stored(links, self._runs.get(trace.root_run), nested[trace.trace_id])
        self._lock_too({trace.home for trace in self._known})
        self._lock_too({state.run.parent_run_id for state in self._stored.values()})
        self._stored_rows = self._writer.find_model_runs([id_ for trace in self._known for id_ in trace.model_runs])
        for trace in self._known:
            for id_ in trace.model_runs.keys() & self._stored_rows.keys():
                _require_own(id_, self._stored_rows[id_].trace_id, trace.trace_id)

    def _lock_too(self, run_ids: Iterable[str | None]) -> None:
        """Lock runs of which the batch itself did not tell."""
        more = {run_id for run_id in run_ids if run_id is not None and run_id not in self._runs}
        for state in self._writer.lock_runs(more).values() if more else ():
            self._remember(state)

    def _remember(self, state: RunState) -> None:
        self._stored.setdefault(state.run.id, state)
        self._runs.setdefault(state.run.id, state)

    # Placing.

    def _place(self, trace: TraceBatch) -> None:
        """Find the run and parent of every row that arrived, and of stored rows that waited for it."""
        trace.grow_tree()
        before = [self._stored[run_id] for run_id in {trace.root_run, trace.home} & self._stored.keys()]
        loose = trace.home in trace.loose_runs() or any(state.loose for state in before)
        has_new_home = trace.has_root and trace.home != trace.root_run
        if not has_new_home and not (trace.nested and loose):
            trace.place(None, {}, self._stored)
            return
        places = self._writer.places_of_trace(trace.trace_id) if trace in self._known else ()
        stored = trace.stored_nodes(places)
        rows = {**stored, **trace.nodes()}
        run_of = trace.tree.runs_of(rows)
        around = {
            run_id: trace.tree.run_above(node, run_of, rows)
            for run_id, node in trace.nested_nodes(self._stored).items()
        }
        self._lock_too({*run_of.values(), *around.values()})
        trace.place(run_of, around, self._stored)
        self._moves.update(
            (row, (node.run_id, run_of[row]))
            for row, node in stored.items()
            if run_of[row] != node.run_id and row not in trace.model_runs
        )

    # Runs as their spans state them.

    def _state_runs(self, trace: TraceBatch) -> None:
        for facts in trace.facts:
            if facts.run is not None:
                self._state(trace, facts, facts.run)
        referred = {row.run_id for row in trace.model_runs.values()} | {link.run_id for link in trace.links.values()}
        referred |= trace.nested | set(trace.around.values())
        for run_id in sorted(referred):
            self._see(trace, run_id)
        for run_id, around in trace.around.items():
            self._nest(run_id, around)
        depths = self._depths() if trace.around else {}
        circles = [run_id for run_id in trace.around if depths[run_id] >= len(self._runs)]
        for run_id in circles:
            self._nest(run_id, trace.home)  # forged: no run is in itself
            referred.add(trace.home)
        if trace.home == trace.root_run:
            self._see(trace, trace.root_run)
        self._settle_root_run(trace, referred)
        for run_id in trace.loose_runs() & self._runs.keys():
            self._runs[run_id] = self._runs[run_id]._replace(loose=True)

    def _state_losses(self) -> None:
        for loss in self._losses:
            state = self._runs.get(loss.run_id)
            if state is not None and not state.is_placeholder:
                self._runs[loss.run_id] = with_last_sign(state, loss.heartbeat_at)

    def _state(self, trace: TraceBatch, facts: Facts, run: Run) -> None:
        known = self._runs.get(run.id)
        if facts.is_anchor:
            self._runs[run.id] = keyed_part(known, run)
        else:
            if known is not None and not known.is_placeholder and known.run.run_key is None:
                _require_own(run.id, known.run.trace_id, trace.trace_id)
            # A root run is in no other run, whatever its span claims.
            self._runs[run.id] = with_stated(known, run._replace(parent_run_id=trace.around.get(run.id)))

    def _nest(self, run_id: str, around: str) -> None:
        state = self._runs[run_id]
        if state.run.parent_run_id != around:
            self._runs[run_id] = state._replace(run=state.run._replace(parent_run_id=around))

    def _see(self, trace: TraceBatch, run_id: str) -> None:
        """Let the spans here say what they tell of a run whose own span is unknown."""
        state = self._runs.get(run_id)
        if state is not None and not state.is_placeholder:
            return
        seen = trace.seen_by(run_id)
        if state is None:
            self._runs[run_id] = placeholder(run_id, trace.around.get(run_id), seen or trace.seen)
        elif seen is not None:
            self._runs[run_id] = with_seen(state, seen)

    def _settle_root_run(self, trace: TraceBatch, referred: Collection[str]) -> None:
        """Drop or hide the placeholder of a root run that nothing is in.

        It goes where it is no more than our lock, or the trace belongs to a keyed run. Where a span did tell of it, and
        everything turned out to be in runs that are elsewhere, it is hidden as if deleted: what was told of it must
        still be known when something else turns out to be in it (P1).
        """
        state = self._runs.get(trace.root_run)
        if state is None or not state.is_placeholder:
            return
        is_told = trace.root_run not in self._guards or trace.seen_by(trace.root_run) is not None
        if trace.home != trace.root_run or not is_told:
            self._drop_root_run(trace, state)
            return
        hidden = state.run.started_at if self._is_left(trace, state, referred) else None
        self._runs[trace.root_run] = state._replace(run=state.run._replace(deleted_at=hidden))

    def _drop_root_run(self, trace: TraceBatch, state: RunState) -> None:
        del self._runs[trace.root_run]
        self._dropped.append(trace.root_run)
        home = self._runs.get(trace.home)
        if home is not None and state.loose:
            self._runs[trace.home] = home._replace(loose=True)

    def _is_left(self, trace: TraceBatch, state: RunState, referred: Collection[str]) -> bool:
        """Whether nothing is in the placeholder of a root run (any more)."""
        root = trace.root_run
        if root in referred or trace.links_into(root):
            return False
        if any(other.run.parent_run_id == root for other in self._runs.values()):
            return False
        if root in self._guards or state.run.deleted_at is not None:
            return True
        moved = [row for row, (before, _) in self._moves.items() if before == root]
        moved += [row for row in trace.model_runs if row in self._stored_rows]
        return not self._writer.has_rows(root, besides=moved)

    # Rows.

    def _changed_rows(self) -> list[ModelRun]:
        """The batch's model runs, merged with what is stored; those that stay as they are left out."""
        changed = []
        for trace in self._traces:
            for row in trace.model_runs.values():
                stored = self._stored_rows.get(row.id)
                if stored is not None:
                    # The place was just settled, from everything; what was stored of it does not count.
                    merged = merge_model_runs(stored.placed(row.run_id, row.parent_id), row)
                    if merged == stored:
                        continue
                    changed.append(merged)
                else:
                    changed.append(row)
        return changed

    def _derive(self, rows: Sequence[ModelRun]) -> None:
        derivation = Derivation(self._writer, self._runs, self._stored.keys() - self._guards)
        left = {
            stored.run.parent_run_id
            for run_id, stored in self._stored.items()
            if stored.run.parent_run_id is not None
            and run_id in self._runs
            and self._runs[run_id].run.parent_run_id != stored.run.parent_run_id
        }
        # A row of the batch may have left a run, too: it was stored where its parents said before they were known.
        left.update(self._stored_rows[row.id].run_id for row in rows if row.id in self._stored_rows)
        others = left | {loss.run_id for loss in self._losses}
        self._runs.update(derivation.derive(self._traces, rows, self._moves, others))

    # Writing. Runs first, then models: model runs refer to both.

    def write(self, writer: Writer) -> None:
        """Write what has changed.

        Args:
            writer: on a connection in a write transaction; that in which the batch was settled, if it was in one.

        Raises:
            RaceError: what looked new is not.
        """
        self._writer = writer
        rows = self._rows
        depths = self._depths()
        ordered = sorted(self._runs.items(), key=lambda item: (depths[item[0]], item[0]))
        new = [state for id_, state in ordered if id_ not in self._stored]
        changed = [state for id_, state in ordered if self._stored.get(id_, state) != state]
        self._insert(new)
        self._look_again()
        writer.save_runs(changed)
        insert_models(writer, self._mentions)
        for trace in self._known:
            writer.replace_parents(trace.trace_id, trace.replaced_parents())
        writer.move_model_runs({row: run_id for row, (_, run_id) in self._moves.items()})
        new_rows = [row for row in rows if row.id not in self._stored_rows]
        if new_rows:
            writer.insert_model_runs(self._packed or writer.packed_model_runs(new_rows))
        writer.save_model_runs([row for row in rows if row.id in self._stored_rows])
        self._write_lost_steps(rows)
        writer.insert_links([link for trace in self._traces for link in trace.new_links()])
        writer.save_links([link for trace in self._traces for link in trace.changed_links()])
        writer.delete_runs(self._dropped)
        declare_models(writer, self._mentions)
        save_environments(writer, self._facts)

    def _write_lost_steps(self, rows: Sequence[ModelRun]) -> None:
        """End the open model runs that went with their runs, and open those again that were ended so and did not.

        Of rows that were written otherwise just now, too: that they end with their run is no fact of theirs.
        """
        lost = {id_: state for id_, state in self._runs.items() if state.ends_open_steps}
        was_lost = {id_ for id_, state in self._stored.items() if state.ends_open_steps}
        if not lost and not was_lost:
            return
        entered = {row.run_id for row in rows} | {run_id for _, run_id in self._moves.values()}
        self._writer.lose_steps(
            {
                id_: state.run.completed_at or 0
                for id_, state in lost.items()
                if id_ in entered or self._stored.get(id_) != state
            }
        )
        left = {after for before, after in self._moves.values() if before in was_lost}
        self._writer.revive_steps((was_lost | left) - lost.keys())

    def _depths(self) -> dict[str, int]:
        """How many runs are around each run, for a row must stand before those that refer to it.

        Around a run that is in a circle, or inside one that is, as many as there are.
        """
        depths: dict[str, int] = {}
        for run_id in self._runs:
            chain: dict[str, None] = {}
            around: str | None = run_id
            while around is not None and around in self._runs and around not in depths and around not in chain:
                chain[around] = None
                around = self._runs[around].run.parent_run_id
            if around is not None and around in chain:
                depths.update(dict.fromkeys(chain, len(self._runs)))
                continue
            depth = -1 if around is None or around not in depths else depths[around]
            for each in reversed(chain):
                depth = min(depth + 1, len(self._runs))
                depths[each] = depth
        return depths

    def _insert(self, states: list[RunState]) -> None:
        if states and self._writer.insert_runs(states) != len(states):
            # Perhaps nobody was faster: of a trace that looked new nothing was read, nor the runs that it is in.
            raise RaceError([trace.trace_id for trace in self._traces if trace.root_run not in self._stored])

    def _look_again(self) -> None:
        """Refuse what looked new if it is not.

        Only now, behind the lock, is this sure: rows and links of a keyed run that came from another process stand
        alone, without a row of the trace's root run.
        """
        new = [trace.trace_id for trace in self._traces if trace.root_run not in self._stored]
        met = self._writer.traces_with_rows(new) if new else []
        if met:
            raise RaceError(met)
