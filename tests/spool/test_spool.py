"""What is put in the spool stays there, for whoever comes next, until it is stored."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otel_runs.counters import stats
from otel_runs.importer.importer import Importer
from otel_runs.spans.span import Span
from otel_runs.spool import files, spool
from otel_runs.spool.replay import Replayed, replay
from otel_runs.spool.spool import QUARANTINED, Quarantined, Spool
from otel_runs.spool.status import status
from otel_runs.store.engine import open_database
from tests.spool.spans import some_spans
from tests.spool.stored import Stored

pytestmark = pytest.mark.usefixtures("_counters_at_zero")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs.db-spool"


def spool_in(folder: Path, *, max_bytes: int = 10_000_000, sync: bool = False) -> Spool:
    return Spool(folder, max_bytes=max_bytes, sync=sync)


def replay_all(folder: Path, stored: Stored) -> Replayed:
    """Replay as another process would."""
    done = Replayed()
    for part in replay(spool_in(folder), stored.save):
        done += part
    return done


def quarantined(folder: Path) -> list[dict[str, object]]:
    return [
        json.loads(line) for path in files.paths_in(folder / "quarantine") for line in path.read_text().splitlines()
    ]


@pytest.mark.parametrize("sync", [True, False])
def test_what_is_spooled_is_replayed_whole_and_in_order_and_then_gone(folder: Path, *, sync: bool) -> None:
    spans = some_spans(700)
    writer = spool_in(folder, sync=sync)
    assert writer.append(spans[:300])
    assert writer.append(spans[300:])
    writer.rotate()

    stored = Stored()
    assert replay_all(folder, stored) == Replayed(files=1, spans=700)

    assert stored == spans
    assert files.paths_in(folder) == []
    assert stats().spans_spooled == 700


def test_open_spans_are_spooled_too(folder: Path) -> None:
    [span] = some_spans(1)
    writer = spool_in(folder)
    writer.append([span._replace(end_ns=None)])
    writer.rotate()

    stored = Stored()
    assert replay_all(folder, stored) == Replayed(files=1, started=1)

    assert [found._replace(heartbeat_ns=None) for found in stored] == [span._replace(end_ns=None)]
    assert stats().spans_spooled == 0, "its end will be counted"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_files_and_folders_are_private_and_kept_out_of_version_control(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(1))
    writer.quarantine([Quarantined(b"x", "because")])

    [path], [bad] = files.paths_in(folder), files.paths_in(folder / "quarantine")
    assert [stat.S_IMODE(found.stat().st_mode) for found in (path, bad)] == [0o600, 0o600]
    assert [stat.S_IMODE(found.stat().st_mode) for found in (folder, folder / "quarantine")] == [0o700, 0o700]
    assert (folder / ".gitignore").read_text() == "*\n"


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


def test_own_file_is_replayed_after_those_of_others_and_written_no_more(folder: Path) -> None:
    before, mine = some_spans(2), some_spans(2, seed=2)
    other = spool_in(folder)
    other.append(before)
    other.rotate()
    writer = spool_in(folder)
    writer.append(mine)

    stored = Stored()
    assert sum(part.spans for part in replay(writer, stored.save)) == 4
    assert stored == [*before, *mine]

    writer.append(some_spans(1, seed=3))
    writer.rotate()
    assert replay_all(folder, Stored()).spans == 1


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


def test_a_cut_off_last_line_costs_no_other_and_is_put_in_quarantine(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(300))
    writer.rotate()
    [path] = files.paths_in(folder)
    path.write_bytes(path.read_bytes()[:-100])

    stored = Stored()
    done = replay_all(folder, stored)

    assert (done.files, done.spans, done.quarantined) == (1, 256, 1)
    [found] = quarantined(folder)
    why = found[QUARANTINED]
    assert isinstance(why, dict)
    assert "cut off" in why["reason"]
    assert why["line"].startswith('{"resourceSpans"')


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


def unwritable(name: object, *, seed: int) -> Span:
    return some_spans(1, seed=seed)[0]._replace(name=name)  # type: ignore[arg-type]  # what a span should not hold


def test_a_span_that_cannot_be_written_costs_no_other_and_is_counted_and_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = some_spans(600)
    bad = [unwritable(b"a", seed=2), unwritable(b"b", seed=3)]
    writer = spool_in(folder)

    writer.append([*good[:100], bad[0], *good[100:], bad[1]])
    writer.rotate()

    stored = Stored()
    replay_all(folder, stored)
    assert stored == good
    assert (stats().spans_spooled, stats().spans_failed, stats().spans_dropped) == (600, 2, 0)
    [told] = caplog.records
    assert f"Span {bad[0].span_id} b'a' cannot be spooled, and is lost: TypeError" in told.getMessage()


def test_a_span_that_is_refused_and_cannot_be_written_either_is_described_in_quarantine(folder: Path) -> None:
    assert spool_in(folder).quarantine([Quarantined(unwritable(b"a", seed=2), "no text")])
    [found] = quarantined(folder)
    why = found[QUARANTINED]
    assert isinstance(why, dict)
    assert why["reason"] == "no text"
    assert "name=b'a'" in why["line"]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_spans_go_to_a_new_file_once_the_one_that_is_written_is_deleted_and_that_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(1))
    shutil.rmtree(folder)

    for seed in (2, 3):
        writer.append(some_spans(1, seed=seed))
    writer.rotate()

    stored = Stored()
    assert replay_all(folder, stored) == Replayed(files=1, spans=2)
    assert stored == [*some_spans(1, seed=2), *some_spans(1, seed=3)]
    [told] = caplog.records
    assert "was moved or deleted while spans were being spooled to it" in told.getMessage()


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


def test_garbage_between_the_lines_is_put_in_quarantine_with_its_reason(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(2))
    writer.rotate()
    [path] = files.paths_in(folder)
    path.write_bytes(b"garbage\n\xff\xfe\x00\n\n" + path.read_bytes() + b'{"resourceSpans": 5}\n')

    stored = Stored()
    assert replay_all(folder, stored) == Replayed(files=1, spans=2, quarantined=3)

    reasons = [found[QUARANTINED] for found in quarantined(folder)]
    assert [sorted(why) for why in reasons if isinstance(why, dict)] == [
        ["line", "reason"],
        ["line_base64", "reason"],
        ["line", "reason"],
    ]


def test_what_is_refused_for_good_is_put_in_quarantine_and_can_be_imported_later(folder: Path, tmp_path: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(3))
    writer.rotate()

    stored = Stored(refuses=lambda span: span.name == "run 1")
    assert replay_all(folder, stored) == Replayed(files=1, spans=2, quarantined=1)

    assert [span.name for span in stored] == ["run 0", "run 2"]
    assert stats().spans_quarantined == 1
    [found] = quarantined(folder)
    assert found[QUARANTINED] == {"reason": "run 1 is refused"}
    problems: list[str] = []
    with open_database(tmp_path / "runs.db") as database:
        importer = Importer(database, problems.append, lambda _: None)
        [path] = files.paths_in(folder / "quarantine")
        importer.read(str(path))
    assert (importer.counts.spans, problems) == (1, [])


def test_a_failing_destination_costs_nothing(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(5_000))
    writer.rotate()

    def fail(_: Sequence[Span]) -> list[Quarantined]:
        msg = "away"
        raise ConnectionError(msg)

    with pytest.raises(ConnectionError) as failure:
        list(replay(spool_in(folder), fail))

    # At once, while the traceback still holds what was under way.
    assert replay_all(folder, Stored()).spans == 5_000
    assert failure.tb is not None


def test_a_file_that_cannot_be_deleted_is_told_and_stops_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in (1, 2):
        writer = spool_in(folder)
        writer.append(some_spans(2, seed=seed))
        writer.rotate()

    def refuse(_: files.LockedFile) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.LockedFile, "delete", refuse)
    assert replay_all(folder, Stored()) == Replayed(files=0, spans=4)
    assert caplog.text.count("cannot be deleted") == 2


def test_a_replay_that_is_stopped_is_begun_anew_and_loses_nothing(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(5_000))
    writer.rotate()
    stored = Stored()

    done = list(replay(spool_in(folder), stored.save, is_over=lambda: bool(stored)))

    assert 0 < sum(part.spans for part in done) < 5_000
    assert len(files.paths_in(folder)) == 1
    replay_all(folder, stored)
    assert set(map(id_of, stored)) == set(map(id_of, some_spans(5_000)))


def id_of(span: Span) -> str:
    return span.span_id


def test_above_its_bytes_the_oldest_are_kept_and_the_rest_is_counted_and_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = spool_in(folder, max_bytes=200_000)
    spans = some_spans(3_000)
    for first in range(0, 3_000, 100):
        writer.append(spans[first : first + 100])

    told = stats()
    assert told.spans_spooled + told.spans_dropped == 3_000
    assert 0 < told.spans_spooled < 3_000
    assert writer.bytes() <= 200_000
    writer.rotate()
    stored = Stored()
    replay_all(folder, stored)
    assert stored == spans[: told.spans_spooled]
    assert len([record for record in caplog.records if "OTEL_RUNS_SPOOL_MAX_BYTES" in record.getMessage()]) == 1
    assert status(folder).dropped == told.spans_dropped


def test_the_bytes_of_other_processes_and_of_the_quarantine_count_too(folder: Path) -> None:
    other = spool_in(folder)
    other.append(some_spans(300))
    other.quarantine([Quarantined(b"x" * 1000, "because")])

    writer = spool_in(folder, max_bytes=other.bytes() + 10)
    writer.append(some_spans(1, seed=2))

    assert stats().spans_dropped == 1


def test_what_a_replay_has_made_room_for_is_kept_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_LOOK_SECONDS", 0)
    other = spool_in(folder)
    other.append(some_spans(300))
    other.rotate()
    writer = spool_in(folder, max_bytes=other.bytes())
    writer.append(some_spans(1, seed=2))
    assert stats().spans_dropped == 1

    replay_all(folder, Stored())
    writer.append(some_spans(1, seed=3))

    assert (stats().spans_dropped, stats().spans_spooled) == (1, 301)


def test_a_burst_looks_through_the_folder_once_a_second(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_LOOK_SECONDS", 3600)
    looks: list[Path] = []

    def look(path: Path) -> int:
        looks.append(path)
        return 0

    monkeypatch.setattr(files, "bytes_in", look)
    writer = spool_in(folder)

    for _ in range(100):
        writer.append(some_spans(1))

    assert looks == [folder, folder / "quarantine"]


def test_quarantine_without_room_keeps_the_file_that_it_is_about(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(2))
    writer.rotate()
    stored = Stored(refuses=lambda span: span.name == "run 1")
    tight = spool_in(folder, max_bytes=10)

    assert [part.files for part in replay(tight, stored.save)] == [0]

    assert len(files.paths_in(folder)) == 1, "never deleted before its bad spans are safe"
    assert replay_all(folder, stored).quarantined == 1


def test_large_amounts_are_cut_into_files_so_that_an_interrupted_replay_repeats_little(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "LARGEST_FILE", 100_000)
    writer = spool_in(folder)
    writer.append(some_spans(2_000))
    writer.rotate()

    paths = files.paths_in(folder)
    assert len(paths) > 2
    stored = Stored()
    assert replay_all(folder, stored).files == len(paths)
    assert stored == some_spans(2_000)


@pytest.mark.parametrize("sync", [True, False])
def test_a_batch_waits_for_each_file_that_it_was_written_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, sync: bool
) -> None:
    synced: set[Path] = set()
    monkeypatch.setattr(spool, "LARGEST_FILE", 100_000)
    monkeypatch.setattr(files.LockedFile, "sync", lambda file: synced.add(file.path))

    spool_in(folder, sync=sync).append(some_spans(2_000))

    assert len(files.paths_in(folder)) > 2
    assert synced == (set(files.paths_in(folder)) if sync else set())


def test_a_folder_that_cannot_be_made_raises_nothing_and_drops_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    writer = spool_in(tmp_path / "file" / "spool")

    assert writer.append(some_spans(3))
    assert not writer.quarantine([Quarantined(b"x", "because")])

    assert (stats().spans_spooled, stats().spans_dropped) == (0, 3)
    assert "cannot be spooled" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_disk_that_fills_up_amid_a_line_leaves_whole_lines_only(folder: Path) -> None:
    program = f"""
import resource, sys
from pathlib import Path
from otel_runs.counters import stats
from otel_runs.spool.spool import Spool
from tests.spool.stored import Stored
from tests.spool.spans import some_spans
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
spool = Spool(Path({str(folder)!r}), max_bytes=10**9, sync=True)
spool.append(some_spans(1_000))
print(stats().spans_spooled, stats().spans_dropped)
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=60, text=True)
    spooled, dropped = map(int, done.stdout.split())

    assert spooled + dropped == 1_000
    assert spooled > 0
    assert dropped > 0
    stored = Stored()
    assert replay_all(folder, stored) == Replayed(files=1, spans=spooled)
    assert stored == some_spans(1_000)[:spooled]


def test_status_tells_what_is_there_and_changes_nothing(folder: Path) -> None:
    assert status(folder) == (folder, 0, 0, 0, None, 0, 0)
    writer = spool_in(folder)
    [open_] = some_spans(1, seed=2)
    writer.append([*some_spans(300), open_._replace(end_ns=None)])
    writer.quarantine([Quarantined(b"x", "because"), Quarantined(open_, "because")])

    for _ in range(2):
        told = status(folder)
        assert (told.files, told.spans, told.quarantined, told.dropped) == (1, 301, 2, 0)
        assert told.bytes == files.bytes_in(folder)
        assert told.oldest is not None
        assert timedelta(0) <= datetime.now(UTC) - told.oldest < timedelta(minutes=5)


def test_another_thread_that_writes_is_waited_for_no_longer_than_asked(folder: Path) -> None:
    writer = spool_in(folder)
    with writer._lock:
        assert not writer.append(some_spans(1), patience=0.01)
    assert writer.append(some_spans(1), patience=0.01)
    assert stats().spans_spooled == 1
