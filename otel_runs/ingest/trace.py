"""One trace of a batch: what arrived, what was stored, and where each row belongs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

from otel_runs.ids import row_id_from_span, run_id_from_trace, trace_prefix
from otel_runs.mapping.facts import Facts
from otel_runs.mapping.merge import merge_model_runs
from otel_runs.mapping.runs import RunState, Seen
from otel_runs.mapping.tree import Node, Tree
from otel_runs.records import ModelRun
from otel_runs.store.writer import Link


def seen_of(facts: Facts) -> Seen:
    """What a span tells of a run that it is in."""
    return Seen(facts.started_at, facts.service_name, facts.environment, facts.trace_id)


def _first_seen(told: Sequence[Facts]) -> Seen | None:
    """The smallest of what some spans tell of a run; None if there are none."""
    if not told:
        return None
    first = min([facts.started_at for facts in told])  # the rest is compared of those alone that began then
    return min([seen_of(facts) for facts in told if facts.started_at == first])


class TraceBatch:
    """The facts of one trace in one batch.

    Args:
        trace_id: of the trace.
        facts: what its spans in this batch say; a span may occur twice.
        other_roots: of them, the root spans that are steps of the run (mapping/roots.py).
    """

    def __init__(self, trace_id: str, facts: list[Facts], other_roots: Collection[str] = ()) -> None:
        self.trace_id = trace_id
        self.facts = facts
        self.prefix = trace_prefix(run_id_from_trace(trace_id))
        self.root_run = run_id_from_trace(trace_id)
        self.home = self.root_run
        self.model_runs: dict[str, ModelRun] = {}
        self.links: dict[str, Link] = {}
        self.nested: set[str] = set()
        self._root_node: str | None = None
        self._root_is_new = False
        self._root_is_stored = False
        """The trace's own run, or the link that says in which keyed run the trace is, as it shall be."""
        self.around: dict[str, str] = {}
        """Nested run -> the run around it."""
        self._links: dict[str, str | None] = {}
        self._stored_links: dict[str, Link] = {}
        self.tree: Tree
        self.plain_roots: dict[str, None] = {}
        """Nodes of the root spans that are no part of a keyed run; one, as a rule."""
        for each in facts:
            self._take(each)
        for node in other_roots:
            # Beside its row: what is below it is right below the run.
            self.links[node] = Link(node, self.root_run, "", trace_id)

    def _take(self, facts: Facts) -> None:
        model_run = facts.model_run
        if model_run is not None:
            known = self.model_runs.get(model_run.id)
            self.model_runs[model_run.id] = model_run if known is None else merge_model_runs(known, model_run)
            if facts.run is None:
                return
        node, parent = facts.node_id, facts.parent_node_id
        if parent is None:
            self._root_is_new = True
            self._root_node = node
            if facts.is_anchor:
                # A root span that is a part of a keyed run: the link says that the whole trace belongs there.
                self.home = facts.run_id
                self.links[node] = Link(node, None, facts.run_id, self.trace_id)
            else:
                self.plain_roots[node] = None
            return
        if model_run is None:
            self.links[node] = Link(node, parent, facts.run_id, self.trace_id)
            if facts.run is not None:
                self.nested.add(node)

    @property
    def has_plain_root(self) -> bool:
        """Whether the root span is here and is the trace's own run."""
        return self._root_is_new and self.home == self.root_run

    @cached_property
    def is_whole(self) -> bool:
        """Whether nothing of the trace can be stored, provided that its root run is not: no row is elsewhere."""
        return self.has_plain_root and all(not facts.run_id or self.is_own(facts.run_id) for facts in self.facts)

    @property
    def has_root(self) -> bool:
        """Whether the root span is here."""
        return self._root_is_new

    def loose_runs(self) -> set[str]:
        """The runs some of whose spans have their place by the chain of their parents: no stamp tells it."""
        return {
            facts.run_id or self.home for facts in self.facts if not facts.stamped and facts.parent_node_id is not None
        }

    def is_own(self, run_id: str) -> bool:
        """Whether a run's id is computed from this trace."""
        return trace_prefix(run_id) == self.prefix

    @property
    def seen(self) -> Seen:
        """What any of the spans here tells; nothing, if none is here."""
        return _first_seen(self.facts) or Seen(0, "", "", self.trace_id)

    def seen_by(self, run_id: str) -> Seen | None:
        """What the spans here tell of a run whose own span is unknown; None if none of them is in it."""
        if run_id == self.root_run:
            return _first_seen([facts for facts in self.facts if not facts.run_id or self.is_own(facts.run_id)])
        return _first_seen(self._stamped_into.get(run_id, ()))

    @cached_property
    def _stamped_into(self) -> dict[str, list[Facts]]:
        """Run -> the spans that say they are in it."""
        found: dict[str, list[Facts]] = defaultdict(list)
        for facts in self.facts:
            if facts.run_id:
                found[facts.run_id].append(facts)
        return found

    def join_stored(self, links: Iterable[Link], root: RunState | None, nested: Iterable[str]) -> None:
        """Take in what is stored of the trace.

        Args:
            links: its links.
            root: its root run, if that has a row.
            nested: ids of the runs nested in it.
        """
        for link in links:
            self._links[link.id] = link.parent_id
            self._stored_links[link.id] = link
            if link.parent_id is None:
                self.home, self._root_node = link.run_id, link.id
                self._root_is_stored = True
        if root is not None and root.run.root_span_id is not None:
            self._root_is_stored = self._root_is_stored or self.home == self.root_run
            self._root_node = row_id_from_span(self.trace_id, root.run.root_span_id)
        self.nested.update(nested)

    def grow_tree(self) -> None:
        """Put together all that is known of the trace's shape."""
        self.nested.update(
            facts.run_id
            for facts in self.facts
            if facts.run_id and facts.run_id != self.root_run and self.is_own(facts.run_id)
        )
        self._links.update((link.id, link.parent_id) for link in self.links.values())
        plain = self.home == self.root_run
        root_row = self.home if plain or self._root_node is None else self._root_node
        self.tree = Tree(self.root_run, self.home, self._root_node, root_row, self._links, self.nested)

    def nodes(self) -> dict[str, Node]:
        """The rows that arrived, as the tree sees them."""
        return {row.id: self._node(row.run_id or self.root_run, row.parent_id) for row in self.model_runs.values()}

    def stored_nodes(self, places: Iterable[tuple[str, str, str | None]]) -> dict[str, Node]:
        """The rows that are stored, as the tree sees them, from their id, run id and parent id."""
        return {row_id: self._node(run_id, parent_id) for row_id, run_id, parent_id in places}

    def _node(self, run_id: str, parent_id: str | None) -> Node:
        # In the home a row may be because it says so (a key on the resource says it for all rows) or because nothing
        # nearer was known; in a run of the trace, because it was stamped or because the chain said so. Either way the
        # chain has the last word. Only a run from elsewhere can have been nothing but stated.
        return Node(run_id, parent_id, fixed=run_id != self.home and not self.is_own(run_id))

    def place(
        self, run_of: Mapping[str, str] | None, around: Mapping[str, str], stored: Mapping[str, RunState]
    ) -> None:
        """Give every row, link and nested run its place.

        Args:
            run_of: row -> run; None where no row's run depends on the chain of its parents.
            around: nested run -> the run around it, where that depends on the chain.
            stored: the runs as they are stored.
        """
        parent_row, stated_or_home = self.tree.parent_row, self._stated_or_home
        for row in self.model_runs.values():
            run_id = stated_or_home(row.run_id) if run_of is None else run_of[row.id]
            parent_id = parent_row(row.parent_id)
            if run_id != row.run_id or parent_id != row.parent_id:
                self.model_runs[row.id] = row.placed(run_id, parent_id)
        for link in self.links.values():
            run_id = self._stated_or_home(link.run_id)
            if run_id != link.run_id:
                self.links[link.id] = link._replace(run_id=run_id)
        before = {id_: self._stated_or_home(stored[id_].run.parent_run_id or "") for id_ in self.nested & stored.keys()}
        self.around = {**dict.fromkeys(self.nested, self.home), **before, **self._stated_around(), **around}

    def nested_nodes(self, stored: Mapping[str, RunState]) -> dict[str, Node]:
        """The nested runs whose own span is known, as the tree sees them."""
        stated = self._stated_around()
        found = {}
        for run_id in self.nested & self._links.keys():
            state = stored.get(run_id)
            known = state.run.parent_run_id if state is not None else None
            run_around = stated.get(run_id) or known or self.root_run
            found[run_id] = self._node(run_around, self._links[run_id])
        return found

    def _stated_around(self) -> dict[str, str]:
        return {
            facts.node_id: self._stated_or_home(facts.run_id)
            for facts in self.facts
            if facts.node_id in self.nested and facts.run_id
        }

    def _stated_or_home(self, run_id: str) -> str:
        # Who was stamped with the trace's own run did not know, or lied, that this is a part of a run with a key.
        return run_id if run_id and run_id != self.root_run else self.home

    def other_roots(self) -> list[str]:
        """The root spans that are steps right below the trace's own run."""
        if self.home != self.root_run:
            return []
        return [id_ for id_, link in (self._stored_links | self.links).items() if link.parent_id == self.root_run]

    def links_into(self, run_id: str) -> bool:
        """Whether a link, arrived or stored, is in a run."""
        return any(link.run_id == run_id for link in {**self._stored_links, **self.links}.values())

    def new_links(self) -> list[Link]:
        """The links that are not stored yet."""
        return [link for node, link in self.links.items() if node not in self._stored_links]

    def changed_links(self) -> list[Link]:
        """The links that are stored otherwise: told again in another way, or of a trace that has found its home."""
        found = []
        for node, stored in self._stored_links.items():
            link = self.links.get(node, stored)
            if link.run_id == self.root_run:
                link = link._replace(run_id=self.home)
            if link != stored:
                found.append(link)
        return found

    def replaced_parents(self) -> dict[str, str | None]:
        """Presumed parents of stored rows that this batch shows to be others: old -> new."""
        nodes = [node for node, link in self.links.items() if node not in self.nested and link.parent_id is not None]
        if self._root_is_stored:
            pass  # a heartbeat, or an end after a start: all rows know their root, and need not be looked through
        elif self.has_plain_root and self._root_node is not None:
            nodes.append(self._root_node)
        elif self.has_root:
            nodes.append(self.root_run)
        return {node: row for node in nodes if (row := self.tree.parent_row(node)) != node}
