"""What cannot be stored or read is put aside with its reason, and costs nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_runs.counters import stats
from otel_runs.importer.importer import Importer
from otel_runs.spool import files
from otel_runs.spool.replay import Replayed, replay
from otel_runs.spool.spool import QUARANTINED, Quarantined
from otel_runs.store.engine import open_database
from tests.spool.spans import some_spans, unwritable
from tests.spool.spools import quarantined, replay_all, spool_in
from tests.spool.stored import Stored

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


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


def test_a_span_that_is_refused_and_cannot_be_written_either_is_described_in_quarantine(folder: Path) -> None:
    assert spool_in(folder).quarantine([Quarantined(unwritable(b"a", seed=2), "no text")])
    [found] = quarantined(folder)
    why = found[QUARANTINED]
    assert isinstance(why, dict)
    assert why["reason"] == "no text"
    assert "name=b'a'" in why["line"]


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


def test_quarantine_without_room_keeps_the_file_that_it_is_about(folder: Path) -> None:
    writer = spool_in(folder)
    writer.append(some_spans(2))
    writer.rotate()
    stored = Stored(refuses=lambda span: span.name == "run 1")
    tight = spool_in(folder, max_bytes=10)

    assert [part.files for part in replay(tight, stored.save)] == [0]

    assert len(files.paths_in(folder)) == 1, "never deleted before its bad spans are safe"
    assert replay_all(folder, stored).quarantined == 1
