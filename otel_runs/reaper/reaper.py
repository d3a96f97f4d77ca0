"""Looks at the runs that are said to live, and declares lost those that are not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from otel_runs.ingest import Ingest, Loss
from otel_runs.reaper.judgement import Judgement, Limits, judge
from otel_runs.reaper.watch import Watch
from otel_runs.store.engine import Database
from otel_runs.store.living import list_living_runs

_NS: Final = 1_000_000_000
_AT_ONCE: Final = 100
"""Runs declared lost in one transaction: others wait for its locks."""


class Reaper:
    """Judges all runs at each look. What it has seen before is in its watch, so one reaper belongs to one database.

    Any number of them may look at a database: what they say of a run is the same, and a run that one is wrong about
    comes back with its next heartbeat.

    Args:
        limits: how long a run may be silent.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits: Final = limits
        self.seconds_between_looks: Final = min(limits.lost_after, limits.confirm) / 6
        # Half of what a run may be silent for: what was missed in a gap then never decides alone.
        self._watch = Watch(longest_gap=max(1.0, min(limits.lost_after, limits.confirm) / 2))

    def look(self, database: Database, ingest: Ingest) -> list[Judgement]:
        """Judge the runs that are said to live, and declare those lost that are.

        Returns:
            A judgement for each run.

        Raises:
            StoreError: the database cannot be read or written now.
        """
        began = time.monotonic()
        # To write, though nothing is written here: as long as nobody can write, heartbeats cannot either.
        with database.write() as connection:
            runs = list_living_runs(connection)
        silent = self._watch.look(runs, began, time.monotonic())
        now = time.time_ns()
        judgements = [
            judge(run, age=(now - run.heartbeat_at) / _NS, silent=silent[run.id], limits=self.limits) for run in runs
        ]
        lost = [each for each in judgements if each.verdict == "lost"]
        gone = {id_ for some in _some_at_once(lost) for id_ in ingest.declare_lost(list(map(_loss, some)))}
        return [each if each.verdict != "lost" or each.run.id in gone else _revived(each) for each in judgements]


def _some_at_once(judgements: Sequence[Judgement]) -> Iterator[Sequence[Judgement]]:
    for start in range(0, len(judgements), _AT_ONCE):
        yield judgements[start : start + _AT_ONCE]


def _loss(judgement: Judgement) -> Loss:
    run = judgement.run
    return Loss(run.id, run.trace_id, run.heartbeat_at)


def _revived(judgement: Judgement) -> Judgement:
    return judgement._replace(
        verdict="heard", reason="it was heard of, or ended, or was being written, at the last moment"
    )
