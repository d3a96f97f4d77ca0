"""The spool of a run database: spans that wait, that are in quarantine, that were dropped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_runs import settings
from otel_runs.doctor.environment import findings as findings_of_the_environment
from otel_runs.doctor.spools import findings, findings_of_endpoints
from otel_runs.export.spooling import spool_of_database, spool_of_endpoint
from otel_runs.spool.spool import Quarantined, Spool
from tests.spool.spans import some_spans

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


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


@pytest.mark.parametrize("setting", [settings.SPOOL_FSYNC, settings.SPOOL_MAX_BYTES], ids=lambda each: each.env)
def test_setting_of_the_spool_that_cannot_be_read_is_told_once(
    url: str, setting: settings.Setting[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting.env, "much")
    assert checks(url) == []
    assert [each.check for each in findings_of_the_environment(os.environ)] == ["bad-value"]


def test_place_of_the_spool_that_cannot_be_told_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    (found,) = findings("postgresql://me@server/runs")
    assert (found.check, "working directory" in found.found, "OTEL_RUNS_SPOOL" in found.do) == ("spool", True, True)


def test_spools_of_endpoints_are_told_with_the_command_that_replays_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_SPOOL", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://own:4318")
    spool_of("postgresql://me@server/runs").append(some_spans(1))
    for number, endpoint in enumerate((None, "http://other:4318"), 1):
        spool = spool_of_endpoint(endpoint)
        assert spool is not None
        spool.append(some_spans(number))
        spool.quarantine([Quarantined(each, "no") for each in some_spans(1)])

    other, other_refused, own, own_refused = findings_of_endpoints()

    assert "2 spans wait in" in other.found
    assert other.do.startswith("otel-runs replay --otlp-endpoint URL, ")
    assert "1 span waits in" in own.found
    assert own.do == "OTEL_RUNS_DB=none otel-runs replay"
    assert {each.means[:30] for each in (other_refused, own_refused)} == {"The OTLP endpoint refused thes"}


def test_spool_of_another_databases_url_is_told_where_spans_wait_in_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".otel_runs").mkdir()
    other = spool_of("postgresql://me@wrong.example/runs")
    other.quarantine([Quarantined(b"x", "no")])
    endpoints = spool_of_endpoint("http://a:4318")
    assert endpoints is not None
    endpoints.append(some_spans(1))
    assert checks(url) == []

    other.append(some_spans(1))

    (found,) = findings(url)
    assert (found.check, found.do.partition(" URL")[0]) == ("other-spool", "otel-runs replay --db")
    assert f"{other.folder} holds 1 file of spans that wait" in found.found


def test_endpoints_are_not_asked_about_where_the_spool_is_off_or_its_settings_are_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_SPOOL", str(tmp_path))
    spool = spool_of_endpoint(None)
    assert spool is not None
    spool.append(some_spans(1))
    assert [finding.check for finding in findings_of_endpoints()] == ["spooled-spans"]
    monkeypatch.setenv("OTEL_RUNS_SPOOL_FSYNC", "sometimes")
    assert list(findings_of_endpoints()) == []
    monkeypatch.delenv("OTEL_RUNS_SPOOL_FSYNC")
    monkeypatch.setenv("OTEL_RUNS_SPOOL", "off")
    assert list(findings_of_endpoints()) == []
