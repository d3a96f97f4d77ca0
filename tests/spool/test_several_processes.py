"""Several processes use one spool: what one of them writes or replays, no other touches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_runs.spool.replay import Replayed, replay
from tests.spool.spans import some_spans
from tests.spool.spools import replay_all, spool_in
from tests.spool.stored import Stored
from tests.systems import needs_fork, needs_locks

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


@needs_locks
def test_the_file_of_a_living_process_is_left_alone_and_free_once_it_is_killed(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from tests.spool.spans import some_spans;"
        "from otel_runs.spool.spool import Spool;"
        f"Spool(Path({str(folder)!r}), max_bytes=10**7, sync=False).append(some_spans(5));"
        "print('written', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "written\n"
            living = Stored()
            assert replay_all(folder, living) == Replayed()
        finally:
            process.kill()
    dead = Stored()
    assert replay_all(folder, dead) == Replayed(files=1, spans=5)
    assert dead == some_spans(5)


@needs_locks
def test_a_file_that_one_replays_is_left_alone_by_another(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(5))
    writer.rotate()
    one, other = Stored(), Stored()

    replaying = replay(spool_in(folder), one.save)
    next(replaying)
    assert replay_all(folder, other) == Replayed()
    assert list(replaying) == [Replayed(files=1)]

    assert (len(one), len(other)) == (5, 0)


@needs_fork
@needs_locks
def test_a_forked_child_writes_its_own_file_and_does_not_free_its_parents(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(1))
    child = os.fork()
    if child == 0:
        writer.append(some_spans(1, seed=2))
        os._exit(0)
    os.waitpid(child, 0)

    stored = Stored()
    assert replay_all(folder, stored) == Replayed(files=1, spans=1)
    assert stored == some_spans(1, seed=2), "only the child's, whose process has ended"
    writer.append(some_spans(1, seed=3))
    writer.rotate()
    assert replay_all(folder, stored).spans == 2


def test_what_there_was_time_for_is_kept_by_a_process_that_is_killed_while_it_spools(folder: Path) -> None:
    program = f"""
import os
from pathlib import Path
from otel_runs.spool.spool import Spool
from tests.spool.spans import some_spans
def until_killed():
    yield from some_spans(3_000)
    os.kill(os.getpid(), 9)
Spool(Path({str(folder)!r}), max_bytes=10**9, sync=True).append(until_killed(), patience=1)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == -9

    stored = Stored()
    replay_all(folder, stored)

    assert len(stored) > 2_500
    assert stored == some_spans(3_000)[: len(stored)]


@needs_fork
@needs_locks
def test_a_child_that_is_forked_during_a_replay_keeps_no_file_from_the_next_one(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(5))
    writer.rotate()
    replaying = replay(spool_in(folder), Stored().save)
    next(replaying)
    (lives, says_it_lives), (may_end, says_may_end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(says_may_end)
        os.write(says_it_lives, b".")
        os.read(may_end, 1)
        os._exit(0)
    try:
        assert os.read(lives, 1) == b"."
        replaying.close()  # type: ignore[attr-defined]  # it is a generator
        assert replay_all(folder, Stored()) == Replayed(files=1, spans=5)
    finally:
        os.close(says_may_end)
        os.waitpid(child, 0)
        for pipe in (lives, says_it_lives, may_end):
            os.close(pipe)
