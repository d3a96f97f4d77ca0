"""CHANGELOG.md has the form of keepachangelog.com, so that people and programs can read it."""

from __future__ import annotations

import re
import tomllib

from tests.project.documents import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
VERSION = re.compile(r"## \[(?P<version>Unreleased|\d+\.\d+\.\d+)\](?: - \d{4}-\d\d-\d\d)?")
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def headings(level: int) -> list[str]:
    return [line for line in TEXT.splitlines() if line.startswith("#" * level + " ")]


def test_versions_are_headings_with_a_date_and_the_first_is_unreleased() -> None:
    assert headings(1) == ["# Changelog"]
    versions = [VERSION.fullmatch(line) for line in headings(2)]
    assert all(versions), headings(2)
    assert headings(2)[0] == "## [Unreleased]"
    assert all(line.endswith("]") == ("Unreleased" in line) for line in headings(2)), "a release has its date"


def test_changes_are_grouped_by_the_six_kinds_and_no_group_is_empty() -> None:
    assert {line.removeprefix("### ") for line in headings(3)} <= KINDS
    for group in re.split(r"^### .*$", TEXT, flags=re.MULTILINE)[1:]:
        assert group.lstrip().startswith("- ")


def test_the_package_s_version_is_released_here_or_still_to_come() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    released = [line for line in headings(2) if f"[{version}]" in line]
    assert released or len(headings(2)) == 1, f"{version} has no heading"
