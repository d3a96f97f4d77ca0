"""What is put in the spool stays there, for whoever comes next, until it is stored."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otel_runs.counters import stats
from otel_runs.spans.span import Span
from otel_runs.spool import files, spool
from otel_runs.spool.replay import Replayed, replay
from otel_runs.spool.spool import Quarantined
from otel_runs.spool.status import status
from tests.spool.spans import id_of, some_spans, unwritable
from tests.spool.spools import replay_all, spool_in
from tests.spool.stored import Stored

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


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
