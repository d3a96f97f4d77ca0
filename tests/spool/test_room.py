"""A spool has so many bytes, and what is too much is counted and told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otel_runs.counters import stats
from otel_runs.spool import files, spool
from otel_runs.spool.replay import Replayed
from otel_runs.spool.spool import Quarantined
from otel_runs.spool.status import status
from tests.spool.spans import some_spans
from tests.spool.spools import replay_all, spool_in
from tests.spool.stored import Stored

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


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


def test_the_bytes_of_other_processes_and_of_the_quarantine_count_too(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = spool_in(folder)
    other.append(some_spans(300))
    other.quarantine([Quarantined(b"x" * 1000, "because")])

    writer = spool_in(folder, max_bytes=other.bytes() + 10)
    writer.append(some_spans(1, seed=2))

    assert stats().spans_dropped == 1
    assert "1 span is dropped, and more may be" in caplog.text


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
