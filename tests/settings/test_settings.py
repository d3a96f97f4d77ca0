"""How a setting is read from the environment."""

from __future__ import annotations

import pytest

from otel_runs import settings
from otel_runs.errors import SettingsError
from otel_runs.settings import SETTINGS, Setting


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.env)
def test_an_empty_variable_counts_as_unset(setting: Setting[object]) -> None:
    assert settings.read(setting, {setting.env: ""}) == setting.default
    assert settings.value(setting, {setting.env: ""}) == settings.default_of(setting)


def test_what_is_set_wins_over_the_default() -> None:
    assert settings.read(settings.HEARTBEAT, {"OTEL_RUNS_HEARTBEAT": "0"}) == "0"
    assert settings.value(settings.HEARTBEAT, {"OTEL_RUNS_HEARTBEAT": "0"}) == 0


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("2.5", 2.5), ("1e9", 1e9), (" 7 ", 7.0)])
def test_seconds_are_numbers_up_to_a_thousand_million(text: str, seconds: float) -> None:
    assert settings.value(settings.FLUSH_TIMEOUT, {"OTEL_RUNS_FLUSH_TIMEOUT": text}) == seconds


@pytest.mark.parametrize("text", ["-1", "1000000001", "1e300", "inf", "nan", "soon", "5s"])
def test_other_seconds_are_refused_by_saying_what_is_expected(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.value(settings.FLUSH_TIMEOUT, {"OTEL_RUNS_FLUSH_TIMEOUT": text})
    told = f"OTEL_RUNS_FLUSH_TIMEOUT is {text!r}: expected a number of seconds, 0 to 1000000000. Seconds that"
    assert str(refused.value).startswith(told)
