"""One round of the reaper, for the command line and for cron."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from otel_runs.ingest import Ingest
from otel_runs.reaper.judgement import Judgement, Limits
from otel_runs.reaper.reaper import Reaper
from otel_runs.store.engine import open_database

_PATIENCE: Final = 3
"""Rounds of watching, at most, where breaks in between make the watch begin anew."""


def reap_once(url: str | None, limits: Limits, on_watching: Callable[[int, float], None]) -> list[Judgement]:
    """Look, watch the runs that cannot be judged at once, and look again.

    Args:
        url: of the run database.
        limits: how long a run may be silent.
        on_watching: called before the watch with the number of runs and the seconds that it takes.

    Returns:
        A judgement for each run that was said to live; none is awaited any more.

    Raises:
        NotFoundError: there is no run history yet.
        StoreError: the database cannot be read or written.
    """
    with open_database(url, create=False) as database:
        ingest = Ingest(database)
        reaper = Reaper(limits)
        first = {each.run.id: each for each in reaper.look(database, ingest)}
        judged = dict(first)
        needed = max((each.seconds_left for each in first.values()), default=0.0)
        until = time.monotonic() + needed * _PATIENCE
        if needed:
            on_watching(len(_awaited(judged)), needed)
        while (left := _awaited(judged)) and time.monotonic() < until:
            time.sleep(min(reaper.seconds_between_looks, max(each.seconds_left for each in left) + 0.001))
            now = {each.run.id: each for each in reaper.look(database, ingest)}
            judged.update((each.run.id, _seen_again(each, now.get(each.run.id))) for each in left)
    return [each if each.verdict != "awaited" else _not_watched(each) for each in judged.values()]


def _awaited(judged: dict[str, Judgement]) -> list[Judgement]:
    return [each for each in judged.values() if each.verdict == "awaited"]


def _seen_again(before: Judgement, now: Judgement | None) -> Judgement:
    if now is None:
        return before._replace(verdict="heard", reason="it ended while it was watched")
    if now.run != before.run:
        return now._replace(verdict="heard", reason="it was heard of while it was watched")
    return now


def _not_watched(judgement: Judgement) -> Judgement:
    return judgement._replace(verdict="spared", reason="it could not be watched without a break; try again")
