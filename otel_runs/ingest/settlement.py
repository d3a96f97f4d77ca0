"""One batch, settled against what is stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from otel_runs.errors import StoreValueError
from otel_runs.ids import run_id_from_trace
from otel_runs.ingest.batch import Batch
from otel_runs.ingest.declarations import mentions_of
from otel_runs.ingest.derivation import Derivation
from otel_runs.ingest.election import elected
from otel_runs.ingest.nesting import endless
from otel_runs.ingest.race import insert_new_runs
from otel_runs.ingest.settled import Settled
from otel_runs.ingest.trace import TraceBatch
from otel_runs.mapping.facts import Facts
from otel_runs.mapping.losses import Loss
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
from otel_runs.store.writer import Link, NothingStored, Writer


def _require_own(id_: str, stored: str, arrived: str) -> None:
    """Let no trace write the row of another: their ids are equal if the traces begin alike and reuse a span id."""
    if stored != arrived:
        msg = f"row {id_} belongs to trace {stored}, which begins like this one and has a span of the same id"
        raise StoreValueError(msg)


class Settlement:
    """Finds out what one batch makes of what is stored.

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

    def settle(self, writer: Writer) -> Settled:
        """Read what is stored, and settle the batch against it.

        Args:
            writer: on a connection in a write transaction.

        Raises:
            RaceError: what looked new is not.
            StoreValueError: a row of another trace has the id of one of these.
        """
        self._writer = writer
        self._lock()
        self._elect()
        known = [trace for trace in self._traces if trace.root_run in self._stored]
        if known:
            self._load(known)
        for trace in self._traces:
            self._place(trace)
        for trace in self._traces:
            self._state_runs(trace)
        self._state_losses()
        rows = self._changed_rows()
        self._derive(rows)
        return Settled(
            traces=self._traces,
            facts=self._facts,
            mentions=self._mentions,
            runs=self._runs,
            stored_runs=self._stored,
            dropped=self._dropped,
            rows=rows,
            stored_rows=self._stored_rows,
            moves=self._moves,
        )

    def presume_new(self, dialect: str) -> Settled:
        """Settle the batch, whole traces, before its transaction, as if nothing of them were stored.

        Args:
            dialect: the name of the database.
        """
        nothing = NothingStored(dialect)
        settled = self.settle(nothing)
        return replace(settled, packed=list(nothing.packed_model_runs(settled.rows)))

    def is_new(self, writer: Writer) -> bool:
        """Whether nothing is stored of the runs that the batch names; where something is, it is locked."""
        return not writer.lock_runs(self._named)

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
        insert_new_runs(self._writer, guards, [t.trace_id for t in self._traces if t.root_run not in self._stored])
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

    def _load(self, known: Sequence[TraceBatch]) -> None:
        """Read what is stored of traces that are not new."""
        trace_ids = [trace.trace_id for trace in known]
        nested: dict[str, list[str]] = defaultdict(list)
        for state in self._writer.runs_of_traces(trace_ids):
            self._remember(state)
            if state.run.id != run_id_from_trace(state.run.trace_id):
                nested[state.run.trace_id].append(state.run.id)
        for trace in known:
            links = self._links.get(trace.trace_id, ())
            trace.join_stored(links, self._runs.get(trace.root_run), nested[trace.trace_id])
        self._lock_too({trace.home for trace in known})
        self._lock_too({state.run.parent_run_id for state in self._stored.values()})
        self._stored_rows = self._writer.find_model_runs([id_ for trace in known for id_ in trace.model_runs])
        for trace in known:
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
        has_new_home = trace.has_root and trace.home != trace.root_run
        if not has_new_home and not (trace.nested and self._is_loose(trace)):
            trace.place(None, {}, self._stored)
            return
        places = self._writer.places_of_trace(trace.trace_id) if trace.root_run in self._stored else ()
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

    def _is_loose(self, trace: TraceBatch) -> bool:
        """Whether the chain of parents decides about spans of the trace that are in no run nested in it."""
        before = [self._stored[run_id] for run_id in {trace.root_run, trace.home} & self._stored.keys()]
        return any(state.loose for state in before) or trace.home in trace.loose_runs()

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
        for run_id in endless(trace.around, self._runs):
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
        for row in rows:
            stored_row = self._stored_rows.get(row.id)
            if stored_row is not None and (stored_row.run_id, stored_row.parent_id) != (row.run_id, row.parent_id):
                left.add(stored_row.run_id)
        others = left | {loss.run_id for loss in self._losses}
        self._runs.update(derivation.derive(self._traces, rows, self._moves, others))
