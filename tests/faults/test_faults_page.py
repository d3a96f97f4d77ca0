"""docs/faults.md: each row names tests that exist, and no test of this room is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.named_tests import ROOT, named_tests

HERE: Final = Path(__file__).parent
PAGE: Final = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
ROWS: Final = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| [^|]+ \|.*tests/", line)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_fault_names_tests_that_exist(row: list[str]) -> None:
    *_, shown_by = row
    assert named_tests(shown_by), "tests show it"
    assert [test.problem for test in named_tests(shown_by) if test.problem] == []


def test_each_row_of_a_fault_is_read() -> None:
    first_of_tables = PAGE.count("| Fault |")
    without_rules = [line for line in PAGE.partition("## How much")[0].splitlines() if re.match(r"\| ?[^-|]", line)]
    assert len(ROWS) == len(without_rules) - first_of_tables


def test_no_test_of_this_room_is_left_out() -> None:
    named = {(test.file, test.name) for test in named_tests(PAGE)}
    ours = {
        (f"tests/faults/{path.name}", name)
        for path in HERE.glob("test_*.py")
        if path != Path(__file__)
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert ours
    assert ours - named == set()
