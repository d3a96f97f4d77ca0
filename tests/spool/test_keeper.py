"""The thread that brings spans home forgets none."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_runs.spans.span import Span
from otel_runs.spool.keeper import Keeper
from otel_runs.spool.replay import Save
from otel_runs.spool.spool import Quarantined, Spool
from tests.spool.spans import some_spans
from tests.spool.stored import Stored
from tests.systems import needs_fork
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


def test_what_is_spooled_while_a_replay_runs_is_replayed_as_well(tmp_path: Path) -> None:
    stored = Stored()
    late = some_spans(2, seed=2)

    def save(spans: Sequence[Span]) -> list[Quarantined]:
        if not stored:
            keeper.keep(late)
        return stored.save(spans)

    @contextmanager
    def opening() -> Generator[Save]:
        yield save

    keeper = Keeper(Spool(tmp_path / "spool", max_bytes=10**7, sync=False), opening)
    keeper.keep(some_spans(1), ConnectionError("away"))
    wait_until(lambda: len(stored) == 3, what="the replay")
    keeper.close()

    assert stored == [*some_spans(1), *late]
    assert keeper.outage is None


def test_a_process_that_can_start_no_thread_any_more_replays_when_it_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is from Python 3.12 on while the interpreter shuts down."""
    stored = Stored()

    @contextmanager
    def opening() -> Generator[Save]:
        yield stored.save

    def refuse(_: threading.Thread) -> None:
        msg = "can't create new thread at interpreter shutdown"
        raise RuntimeError(msg)

    keeper = Keeper(Spool(tmp_path / "spool", max_bytes=10**7, sync=False), opening)
    keeper.keep(some_spans(2))
    monkeypatch.setattr(threading.Thread, "start", refuse)

    keeper.note_success()
    assert stored == []
    keeper.close()

    assert stored == some_spans(2)


@needs_fork
def test_a_forked_child_brings_home_what_is_its_own_though_its_parent_waits(tmp_path: Path) -> None:
    parent = os.getpid()
    stored = Stored()

    @contextmanager
    def opening() -> Generator[Save]:
        if os.getpid() == parent:
            raise ConnectionError
        yield stored.save

    keeper = Keeper(Spool(tmp_path / "spool", max_bytes=10**7, sync=False), opening)
    keeper.keep(some_spans(1), ConnectionError("away"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            keeper.keep(some_spans(2, seed=2))
            keeper.note_success()
            wait_until(lambda: stored == some_spans(2, seed=2), what="the replay")
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    keeper.close()
