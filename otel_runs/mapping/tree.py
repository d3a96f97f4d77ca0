"""The place of each span in its trace: which row is its parent, and which run it is in. Pure.

A row's parent is first presumed: the row that its parent span would have, or the root run where a stamp says so. That
is already right if the parent turns out to be a model run or a nested run. Only these need a second look: the root
span, whose row has the trace's id unless the trace belongs to a run with a key, and spans without a row, which are
passed over.

A row's run is first presumed to be the trace's home, unless the span states it. Only traces with nested runs whose
descendants nobody stamped need a second look.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Node(NamedTuple):
    """A row as the tree sees it."""

    run_id: str
    """As stated, or as presumed so far."""
    parent_id: str | None
    """As presumed so far."""
    fixed: bool
    """The span itself states its run."""


class Tree:
    """What is known of one trace.

    Args:
        root_run: the id that the trace's root run has, or would have.
        home: the run of a span where nothing nearer is known: the root run, or the run with a key that the root span is
            a part of.
        root_node: the root span's id in the form of a row's; None while it is unknown.
        root_row: the id of the root span's row: the home's or, in a run with a key, a model run's.
        links: node -> parent node, of spans without a row and of nested runs.
        nested: ids of the runs nested in this trace.
    """

    def __init__(
        self,
        root_run: str,
        home: str,
        root_node: str | None,
        root_row: str,
        links: Mapping[str, str | None],
        nested: frozenset[str] | set[str],
    ) -> None:
        self.home = home
        self._root_run = root_run
        self._root_node = root_node
        self._root_row = root_row
        self._links = links
        self._nested = nested
        self._ends: dict[str, str | None] = {}
        """Node that is passed over -> the end of the way up from it."""

    def parent_row(self, node: str | None) -> str | None:
        """The node's row, or that of its nearest ancestor that has one; presumed where the node is unknown."""
        if node in self._links:
            node = self._end_of_links(node)
        if node is None or node in (self._root_node, self._root_run):
            return self._root_row
        return node

    def _end_of_links(self, node: str | None) -> str | None:
        """The first node on the way up that is passed over no more; None where a forged trace goes in a circle."""
        way: dict[str, None] = {}
        end = node
        while end is not None and end in self._links and end not in self._nested:
            if end in self._ends:
                end = self._ends[end]
                break
            if self._links[end] is None:
                break  # a root span that is a part of a run with a key: it has a row
            if end in way:
                end = None
                break
            way[end] = None
            end = self._links[end]
        # For all that were passed: a later way ends where it meets this one, however long both are.
        self._ends.update(dict.fromkeys(way, end))
        return end

    def runs_of(self, rows: Mapping[str, Node]) -> dict[str, str]:
        """Row id -> run id, from everything that is known of the trace."""
        settled: dict[str, str] = {}
        for row in rows:
            chain: dict[str, None] = {}
            node = row
            while True:
                chain[node] = None
                found, above = self._step(rows[node], rows, settled)
                if above is None or above in chain:
                    break
                node = above
            settled.update(dict.fromkeys(chain, found))
        return settled

    def run_above(self, link: Node, settled: Mapping[str, str], rows: Mapping[str, Node]) -> str:
        """The run around a nested run.

        Args:
            link: the nested run as a node: its parent, and the run around it as presumed so far.
            settled: what runs_of returned.
            rows: what runs_of was given.
        """
        found, above = self._step(link, rows, settled)
        return found if above is None else settled.get(above, found)

    def _step(self, node: Node, rows: Mapping[str, Node], settled: Mapping[str, str]) -> tuple[str, str | None]:
        """The run of a node as far as it can be told here, and the row above that knows better (or None)."""
        if node.fixed:
            return node.run_id, None
        above = self.parent_row(node.parent_id)
        if above is None or above == self.home:
            return self.home, None
        if above in self._nested:
            return above, None
        if above in settled:
            return settled[above], None
        # Where the chain is broken, what the row was told before stands.
        presumed = self.home if node.run_id == self._root_run else node.run_id
        return presumed, above if above in rows else None
