"""What linters, type checkers or the coverage are told to overlook has its reason beside it."""

from __future__ import annotations

import re

from tests.project.documents import ROOT

WITHOUT_REASON = re.compile(r"# (ruff: )?(noqa(: [A-Z0-9, ]+)?|(type|pyright): ignore(\[[\w, -]+\])?|pragma: no \w+)$")

SKIPS_ITSELF = re.compile(r"pytest\.importorskip\(")


def test_what_checks_are_told_to_overlook_has_its_reason_beside_it() -> None:
    folders = ("otel_runs", "tests", "bench", "docs")
    lines = [
        (path, number, line)
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]
    bare = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, number, line in lines
        if WITHOUT_REASON.search(line)
    ]
    assert bare == []


def test_no_test_skips_itself_where_a_package_is_missing() -> None:
    """In an environment that ought to have it, that would look like a test that passed."""
    skipping = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if SKIPS_ITSELF.search(path.read_text(encoding="utf-8"))
    ]
    assert skipping == []
