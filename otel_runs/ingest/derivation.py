"""Runs derived from their rows: totals, survived failures, and the whole of runs with a key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from otel_runs.ids import run_id_from_trace, trace_prefix
from otel_runs.ingest.trace import TraceBatch
from otel_runs.mapping.runs import RunState, keyed_run, stated_part, with_loss, with_totals
from otel_runs.mapping.totals import Usage, totals_of, usage_of_run
from otel_runs.records import ModelRun, Run
from otel_runs.store.writer import Link, Writer

Moves = Mapping[str, tuple[str, str]]


def _heard_at(record: Run | ModelRun) -> int:
    """When a thing was last heard of: at its end, or at its start."""
    return max(record.started_at, record.completed_at or 0)


class Derivation:
    """Derives the runs that a batch touched.

    Totals are derived when a run has ended, and again whenever more arrives for it. While it runs they are NULL, so
    that a run of a hundred thousand steps is added up once and not with every batch; the views add up running runs.

    Args:
        writer: to read what is stored of them.
        runs: all runs that the batch touches, and those around them and inside them in the same trace.
        stored: ids of the runs of which rows may be stored.
    """

    def __init__(self, writer: Writer, runs: Mapping[str, RunState], stored: Collection[str]) -> None:
        self._writer = writer
        self._runs = dict(runs)
        self._stored = set(stored)
        self._inside: dict[str, list[str]] = defaultdict(list)
        self._parents: dict[str, str | None] = {}
        self._sums: dict[str, RunState] = {}
        self._rows: dict[str, list[Usage | ModelRun]] = defaultdict(list)
        self._roots: set[str] = set()
        """Model runs that are root spans beside the one that is their run: only traces of this batch have any."""
        self._heard: dict[str, int] = {}
        """Model run -> when it was last heard of; known where a run counts as lost."""

    def derive(
        self, traces: Sequence[TraceBatch], rows: Sequence[ModelRun], moves: Moves, others: Collection[str]
    ) -> dict[str, RunState]:
        """Derive every run that the batch touched.

        Args:
            traces: of the batch, placed.
            rows: the model runs that were added or changed.
            moves: stored model runs that are in another run now.
            others: runs that the batch changed in another way.

        Returns:
            The derived runs by id.
        """
        touched = {facts.run.id for trace in traces for facts in trace.facts if facts.run is not None}
        touched.update(row.run_id for row in rows)
        touched.update(run_id for move in moves.values() for run_id in move)
        touched.update(others)
        for trace in traces:
            if not trace.nested.issuperset(trace.links):
                # A span without a row may come between two rows that are stored, and which of them is a leaf changes.
                # Nested runs, which have links, too, do not: what is below one is in it, not in the run around it.
                touched.add(trace.home)
                touched.update(trace.nested)
        touched &= self._runs.keys()
        touched = self._with_surrounding(touched)
        self._derive_keyed(touched, rows, {*others, *(run_id for move in moves.values() for run_id in move)})
        for run_id in touched:
            self._runs[run_id] = with_loss(self._runs[run_id])
        ended = [run_id for run_id in sorted(touched) if self._runs[run_id].ended]
        self._find_nested(ended)
        self._load(ended, traces, rows, moves)
        self._add_up(ended)
        self._runs.update((run_id, self._sums[run_id]) for run_id in ended)
        return {run_id: self._runs[run_id] for run_id in touched}

    def _with_surrounding(self, run_ids: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for run_id in run_ids:
            around: str | None = run_id
            while around is not None and around not in found and around in self._runs:
                found.add(around)
                around = self._runs[around].run.parent_run_id
        return found

    def _derive_keyed(self, touched: Iterable[str], rows: Sequence[ModelRun], left: Collection[str]) -> None:
        """Derive the runs with a key.

        Args:
            touched: runs of any kind.
            rows: the model runs that were added or changed.
            left: the runs that rows may have left, or come to from others.
        """
        keyed = [run_id for run_id in touched if self._runs[run_id].run.run_key is not None]
        arrived: dict[str, list[ModelRun]] = defaultdict(list)
        for row in rows if keyed else ():
            arrived[row.run_id].append(row)
        for run_id in keyed:
            mine, state = arrived.get(run_id, []), self._runs[run_id]
            anchors = {row.id: row for row in mine if row.parent_id == run_id}
            traces = {row.trace_id for row in mine}
            if run_id in self._stored:
                if not anchors and run_id not in left and stated_part(state).status == "running":
                    continue  # more steps do not end it: to read all that it has, for each batch, would be in vain
                anchors = {row.id: row for row in self._writer.anchors_of_run(run_id)} | anchors
                traces |= self._writer.traces_of_run(run_id)
            self._runs[run_id] = keyed_run(state, list(anchors.values()), traces)

    def _find_nested(self, ended: Sequence[str]) -> None:
        """Learn what is nested in the runs. Of runs with a key, in traces too that are not in this batch."""
        keyed = [run_id for run_id in ended if self._runs[run_id].run.run_key is not None and run_id in self._stored]
        while keyed:
            found = [state for state in self._writer.runs_inside(keyed) if state.run.id not in self._runs]
            self._runs.update((state.run.id, state) for state in found)
            self._stored.update(state.run.id for state in found)
            keyed = [state.run.id for state in found]
        for run_id, state in self._runs.items():
            if state.run.parent_run_id is not None:
                self._inside[state.run.parent_run_id].append(run_id)

    def _load(self, ended: Iterable[str], traces: Sequence[TraceBatch], rows: Sequence[ModelRun], moves: Moves) -> None:
        """Gather the rows of the runs: what is stored, as it will be after this batch, and what has arrived."""
        wanted = self._with_nested(ended)
        # A row that has just moved into one of them is still stored where it was.
        stored = (wanted & self._stored) | {old for old, new in moves.values() if new in wanted}
        found: dict[str, Usage | ModelRun] = {}
        if stored:
            trees = {trace.trace_id: trace.tree for trace in traces}
            for row in self._writer.usage_of_runs(sorted(stored)):
                tree = trees.get(row.trace_id)
                parent_id = tree.parent_row(row.parent_id) if tree is not None else row.parent_id
                run_id = moves[row.id][1] if row.id in moves else row.run_id
                is_there = run_id == row.run_id and parent_id == row.parent_id  # as nearly all are: 1 us a row
                found[row.id] = row if is_there else row._replace(run_id=run_id, parent_id=parent_id)
        found.update((record.id, record) for record in rows)
        self._roots.update(node for trace in traces for node in trace.other_roots())
        if any(self._runs[run_id].is_lost for run_id in wanted):
            self._heard = self._writer.last_heard_of(sorted(stored)) | {row.id: _heard_at(row) for row in rows}
        for usage in found.values():
            self._rows[usage.run_id].append(usage)
        self._load_parents({run_id for run_id in wanted if self._runs[run_id].run.parent_run_id is not None}, traces)

    def _load_parents(self, nested: set[str], traces: Sequence[TraceBatch]) -> None:
        """Learn below which rows the nested runs are."""
        if not nested:
            return
        self._parents.update(self._writer.find_links(nested & self._stored))
        batch = {trace.trace_id for trace in traces}
        elsewhere = {self._runs[run_id].run.trace_id for run_id in nested} - batch
        own: dict[str, list[str]] = defaultdict(list)
        for run_id in nested:
            own[trace_prefix(run_id)].append(run_id)
        for trace in [*traces, *self._stored_traces(sorted(elsewhere))]:
            self._parents.update((link.id, link.parent_id) for link in trace.links.values())
            self._parents.update(
                (run_id, trace.tree.parent_row(self._parents[run_id]))
                for run_id in own.get(trace.prefix, ())
                if run_id in self._parents
            )

    def _stored_traces(self, trace_ids: Sequence[str]) -> list[TraceBatch]:
        """Traces of which nothing is in this batch: their other parts tell which rows are around a nested run."""
        if not trace_ids:
            return []
        links: dict[str, list[Link]] = defaultdict(list)
        for link in self._writer.links_of_traces(trace_ids):
            links[link.trace_id].append(link)
        nested: dict[str, list[str]] = defaultdict(list)
        for state in self._writer.runs_of_traces(trace_ids):
            if state.run.id != run_id_from_trace(state.run.trace_id):
                nested[state.run.trace_id].append(state.run.id)
        found = [TraceBatch(trace_id, []) for trace_id in trace_ids]
        for trace in found:
            trace.join_stored(links[trace.trace_id], None, nested[trace.trace_id])
            trace.grow_tree()
        return found

    def _add_up(self, run_ids: Iterable[str]) -> None:
        """Add up runs, and first those nested in them, ended or not.

        Not by recursion: a chain of runs, each nested in the one before, may be longer than Python's stack.
        """
        waiting = list(run_ids)
        added: set[str] = set()
        while waiting:
            run_id = waiting[-1]
            if run_id not in self._sums:
                self._sums[run_id] = self._runs[run_id]  # a forged circle of runs ends here
                waiting += [inner for inner in reversed(self._inside.get(run_id, ())) if inner not in self._sums]
                continue
            waiting.pop()
            if run_id not in added:
                added.add(run_id)
                self._sums[run_id] = self._added_up(run_id)

    def _added_up(self, run_id: str) -> RunState:
        """A run with its totals; what is nested in it is added up."""
        state, rows = self._runs[run_id], self._rows[run_id]
        nested = [self._sums[inner].run for inner in self._inside.get(run_id, ())]
        inside = [usage_of_run(inner, self._parents.get(inner.id)) for inner in nested]
        totals = totals_of([*rows, *inside], self._roots)
        heard = [self._heard[row.id] for row in rows] + [_heard_at(run) for run in nested] if state.is_lost else []
        return with_totals(state, totals, len(rows), max(heard, default=0))

    def _with_nested(self, run_ids: Iterable[str]) -> set[str]:
        found = set(run_ids)
        waiting = list(found)
        while waiting:
            # get, lest an empty list be kept for each run: what is kept is looked through for garbage.
            inner = [each for each in self._inside.get(waiting.pop(), ()) if each not in found]
            found.update(inner)
            waiting += inner
        return found
