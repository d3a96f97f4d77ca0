"""The spool of a run database: spans that wait, that are in quarantine, that were dropped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_runs.counters import counters
from otel_runs.doctor.spools import findings
from otel_runs.export.spooling import spool_of_database
from otel_runs.spool.spool import Quarantined, Spool
from tests.spool.spans import some_spans


@pytest.fixture(autouse=True)
def _counters_at_zero() -> Iterator[None]:
    yield
    counters.reset()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


def spool_of(url: str) -> Spool:
    spool = spool_of_database(url)
    assert spool is not None
    return spool


def checks(url: str) -> list[str]:
    return [finding.check for finding in findings(url)]


def test_nothing_is_said_where_nothing_was_spooled_and_nothing_is_made(url: str, tmp_path: Path) -> None:
    assert checks(url) == []
    assert list(tmp_path.iterdir()) == []


def test_spans_that_wait_are_told_with_their_number_place_and_age(url: str) -> None:
    spool = spool_of(url)
    spool.append(some_spans(5))
    (found,) = findings(url)
    assert (found.check, found.do) == ("spooled-spans", "otel-runs replay")
    assert f"5 spans wait in {spool.folder}, the oldest since 20" in found.found


def test_spans_in_quarantine_are_told(url: str) -> None:
    spool_of(url).quarantine([Quarantined(each, "too large") for each in some_spans(2)])
    (found,) = findings(url)
    assert (found.check, "2 lines are in quarantine" in found.found) == ("quarantined-spans", True)


def test_full_spool_and_what_it_dropped_are_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RUNS_SPOOL_MAX_BYTES", "2000")
    spool = spool_of(url)
    spool.append(some_spans(2))
    assert checks(url) == ["spooled-spans"]
    for seed in range(20):
        spool.append(some_spans(1, seed=seed))
    found = {finding.check: finding for finding in findings(url)}
    assert list(found) == ["spooled-spans", "full-spool", "dropped-spans"]
    assert "OTEL_RUNS_SPOOL_MAX_BYTES" in found["dropped-spans"].do


def test_spool_that_is_off_is_not_looked_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spool_of(url).append(some_spans(1))
    monkeypatch.setenv("OTEL_RUNS_SPOOL", "off")
    assert checks(url) == []


def test_setting_of_the_spool_that_cannot_be_read_is_told_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RUNS_SPOOL_FSYNC", "sometimes")
    assert checks(url) == ["bad-value"]
    monkeypatch.delenv("OTEL_RUNS_SPOOL_FSYNC")
    monkeypatch.setenv("OTEL_RUNS_SPOOL_MAX_BYTES", "much")
    assert checks(url) == []
