"""A server is built once, however many ask at once, and never when its tool is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import builds
from tests.servers.builds import Recipe, build, built
from tests.servers.missing import ServerMissingError


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A server whose build says that it was run; the folder that it says it in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(builds, "LOCKS", tmp_path)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "lock").write_text("1")
    command = ("sh", "-c", f"sleep 0.2; echo built >> {tmp_path}/times; cp lock program")
    monkeypatch.setitem(builds.RECIPES, "toy", Recipe((command,), "program"))
    return tmp_path


def test_server_is_built_once_and_again_when_its_lock_file_changes(toy: Path) -> None:
    first = build("toy")
    assert (build("toy"), built("toy"), first.read_text()) == (first, first, "1")
    assert (toy / "times").read_text() == "built\n"

    (toy / "toy" / "lock").write_text("2")
    with pytest.raises(ServerMissingError, match="run make servers"):
        built("toy")
    assert build("toy").read_text() == "2"
    assert first.read_text() == "1"


def test_two_who_ask_at_once_share_one_build(toy: Path) -> None:
    recipe = f"Recipe({builds.RECIPES['toy'].commands!r}, 'program')"
    program = f"""
from pathlib import Path
from tests.servers import builds
from tests.servers.builds import Recipe
builds.LOCKS = Path({str(toy)!r})
builds.RECIPES["toy"] = {recipe}
print(builds.build("toy"))
"""
    asking = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    places = {one.communicate(timeout=60)[0] for one in asking}

    assert [one.returncode for one in asking] == [0, 0]
    assert len(places) == 1
    assert (toy / "times").read_text() == "built\n"


def test_failed_build_leaves_nothing_and_tells_what_the_tool_said(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(builds.RECIPES, "toy", Recipe((("sh", "-c", "echo no such module; exit 3"),), "program"))
    with pytest.raises(ServerMissingError, match=r"ended with 3:\nno such module"):
        build("toy")

    assert [path.suffix for path in (toy / "cache/otel_runs/servers").iterdir()] == [".lock"]


def test_missing_tool_is_named(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(builds.RECIPES, "toy", Recipe((("no-such-tool",),), "program"))
    with pytest.raises(ServerMissingError, match="toy needs no-such-tool, which is not on this machine"):
        build("toy")


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)], ids=["in CI", "elsewhere"])
def test_make_servers_fails_for_a_missing_server_in_ci_only(
    ci: str, code: int, toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(builds, "RECIPES", {"toy": Recipe((("no-such-tool",),), "program")})

    assert builds.main() == code
    assert "Tests that need toy are skipped, and fail in CI" in capsys.readouterr().err
