"""docs/features.md: complete, and every test it names exists."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from tests.named_tests import ROOT, NamedTest, named_tests

LAST_OF_EACH_SYSTEM = {"L": 20, "E": 18, "J": 14, "T": 27}

ROW = re.compile(r"\| (?P<id>[LEJT]\d+) \| (?P<feature>.+?) \| (?P<state>.+?) \|")


class Feature(NamedTuple):
    """One row of the table."""

    id: str
    tests: tuple[NamedTest, ...]
    open: bool


def features() -> list[Feature]:
    text = (ROOT / "docs/features.md").read_text(encoding="utf-8")
    rows = (ROW.fullmatch(line) for line in text.splitlines() if re.match(r"\| [LEJT]\d", line))
    return [Feature(row["id"], named_tests(row["state"]), row["state"].startswith("open")) for row in rows if row]


def test_every_feature_has_exactly_one_row_and_none_is_missing() -> None:
    wanted = [f"{system}{number}" for system, last in LAST_OF_EACH_SYSTEM.items() for number in range(1, last + 1)]
    assert [feature.id for feature in features()] == wanted


@pytest.mark.parametrize("feature", features(), ids=lambda feature: feature.id)
def test_feature_is_open_or_names_tests_that_exist(feature: Feature) -> None:
    assert feature.open != bool(feature.tests), "a row is either open or names the tests that show it"
    assert [test.problem for test in feature.tests if test.problem] == []
