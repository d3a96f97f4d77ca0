"""What a run says of its code, configuration and input."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_runs import run
from otel_runs.instrument import identity


@pytest.fixture(autouse=True)
def read_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what was read once, and the variables of a CI."""
    for variable in identity.COMMIT_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    identity.code_identity.cache_clear()
    yield
    identity.code_identity.cache_clear()


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit and a tag, which holds the running script."""
    _git(tmp_path, "init", "-q")
    (tmp_path / "pipeline.py").write_text("one")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "one")
    _git(tmp_path, "tag", "-a", "v1", "-m", "v1")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "pipeline.py"), raising=False)
    return tmp_path


def test_run_carries_the_commit_of_the_script(spans: Any, repository: Path) -> None:
    with run("nightly"):
        pass
    assert spans.attributes("nightly")["vcs.ref.head.revision"] == _git(repository, "rev-parse", "HEAD")
    assert spans.attributes("nightly")["otel_runs.code.dirty"] is False


def test_changed_file_makes_it_dirty_but_an_output_file_does_not(repository: Path) -> None:
    (repository / "runs.db").write_text("output")
    assert identity.code_identity()["otel_runs.code.dirty"] is False
    identity.code_identity.cache_clear()
    (repository / "pipeline.py").write_text("two")
    assert identity.code_identity()["otel_runs.code.dirty"] is True


def test_without_a_repository_the_variables_of_a_ci_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "x.py"), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert identity.code_identity() == {}
    identity.code_identity.cache_clear()
    monkeypatch.setenv("GITHUB_SHA", "abc")
    assert identity.code_identity() == {"vcs.ref.head.revision": "abc"}


def test_a_script_outside_of_any_repository_is_not_of_the_one_it_is_started_in(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path_factory.mktemp("jobs") / "nightly.py"))
    monkeypatch.chdir(repository)
    monkeypatch.setenv("GIT_COMMIT", "deadbeef")
    assert identity.code_identity() == {"vcs.ref.head.revision": "deadbeef"}


def test_without_git_nothing_breaks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert identity.code_identity() == {}


def test_config_hash_does_not_depend_on_the_order_of_keys(spans: Any) -> None:
    day = dt.date(2026, 1, 2)
    one = identity.config_hash({"a": 1, "b": {"c": day, "tags": {"x", "y"}}})
    other = identity.config_hash({"b": {"tags": {"y", "x"}, "c": day}, "a": 1})
    assert one == other
    assert identity.config_hash({"b": [uuid.UUID(int=1), Path("a")]}) != one
    with run("nightly", config={"a": 1}):
        pass
    assert spans.attributes("nightly")["otel_runs.config_hash"] == hashlib.sha256(b'{"a":1}').hexdigest()


def test_config_that_cannot_be_hashed_is_told_and_the_run_goes_on(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    with run("nightly", config={"client": object()}):
        pass
    assert "otel_runs.config_hash" not in spans.attributes("nightly")
    assert "expected texts, numbers, booleans" in caplog.text


def test_fingerprint_of_a_file_is_that_of_its_content(spans: Any, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_bytes(b"1,2\n" * 100_000)
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    with run("nightly", inputs=file):
        pass
    assert spans.attributes("nightly")["otel_runs.input_fingerprint"] == expected
    assert identity.fingerprint(str(file)) == identity.fingerprint(file.read_bytes()) == expected


def test_fingerprint_of_a_folder_changes_with_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = identity.fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = identity.fingerprint(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, second, identity.fingerprint(tmp_path)}) == 3
    assert identity.fingerprint([b"1", b"2"]) != identity.fingerprint([b"2", b"1"])


def test_missing_input_is_told_and_the_run_goes_on(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    with run("nightly", inputs=os.path.join("no", "such", "file")):  # noqa: PTH118  a text, as users give it
        pass
    assert spans.names() == ["nightly"]
    assert "could not be hashed" in caplog.text


def test_other_options_of_a_run_have_their_attributes(spans: Any) -> None:
    with run(
        "nightly",
        id=uuid.UUID(int=1),  # type: ignore[call-overload]  # not declared, and taken all the same
        environment="prod",
        tenant_id="acme",
        session_id="s1",
        background=True,
        fingerprint="f1",
    ):
        pass
    attributes = spans.attributes("nightly")
    assert attributes["otel_runs.run.id"] == "00000000-0000-0000-0000-000000000001"
    assert attributes["deployment.environment.name"] == "prod"
    assert attributes["otel_runs.tenant_id"] == "acme"
    assert attributes["session.id"] == "s1"
    assert attributes["otel_runs.background"] is True
    assert attributes["otel_runs.input_fingerprint"] == "f1"
