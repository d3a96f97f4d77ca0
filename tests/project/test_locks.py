"""The lock files: complete, checked by hash, and the same for everyone, wherever they install from."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.project.documents import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
RUN = [*PROJECT["project"]["dependencies"], *EXTRAS["postgres"], *EXTRAS["zstd"]]
SERVER = EXTRAS["server"]
GROUPS = PROJECT["dependency-groups"]
LOCKS = {
    "run": [*RUN, *GROUPS["build"]],
    "serve": [*RUN, *SERVER, *GROUPS["build"]],
    "dev": [*RUN, *SERVER, *GROUPS["build"], *GROUPS["test"], *GROUPS["check"]],
    "bench": [*RUN, *SERVER, *GROUPS["build"], *GROUPS["test"], *GROUPS["bench"]],
    "lowest": [*RUN, *SERVER, *GROUPS["build"], *GROUPS["test"]],
    "sqlalchemy-2.0": [*RUN, *SERVER, *GROUPS["build"], *GROUPS["test"]],
}
"""Lock file -> what it is made from."""

LINE = re.compile(r"(#.*|[a-z0-9-]+==[\w.]+( ; [\w .'=<>!()]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?)")


def text_of(lock: str) -> str:
    return (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")


def versions_of(lock: str) -> dict[str, Version]:
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)", text_of(lock), re.MULTILINE)
    return {name: Version(version) for name, version in pins}


def test_every_lock_file_is_known_here() -> None:
    assert {path.stem for path in (ROOT / "requirements").glob("*.txt")} == set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_versions_and_hashes_only_and_names_no_host_and_no_folder(lock: str) -> None:
    assert [line for line in text_of(lock).splitlines() if not LINE.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_every_dependency_in_its_range(lock: str) -> None:
    locked = versions_of(lock)
    for requirement in map(Requirement, LOCKS[lock]):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"requirements/{lock}.txt lacks {requirement}; run make lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{version} is not {requirement}"


def test_lowest_lock_holds_the_lowest_versions_that_the_package_promises() -> None:
    locked = versions_of("lowest")
    floors = {
        canonicalize_name(requirement.name): Version(specifier.version)
        for requirement in map(Requirement, [*RUN, *SERVER])
        for specifier in requirement.specifier
        if specifier.operator == ">="
    }
    # A floor of two numbers, 3.2, is met by its first release, which may be 3.2.1.
    assert {name: locked[name].release[: len(floor.release)] for name, floor in floors.items()} == {
        name: floor.release for name, floor in floors.items()
    }


def test_the_locks_cover_sqlalchemy_2_0_and_2_1() -> None:
    assert versions_of("sqlalchemy-2.0")["sqlalchemy"].release[:2] == (2, 0)
    assert versions_of("dev")["sqlalchemy"].release[:2] == (2, 1)
