"""What users' type checkers see: the types of what they decorated, and their mistakes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
ACCEPTED = FOLDER / "accepted.py"


@pytest.fixture
def refused(tmp_path: Path) -> Path:
    """The file of mistakes, as Python."""
    return Path(shutil.copy(FOLDER / "refused.txt", tmp_path / "refused.py"))


def _lines_marked(file: Path) -> list[int]:
    return [number for number, line in enumerate(file.read_text().splitlines(), 1) if line.endswith("# error")]


def _check(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    return done.stdout


def _mypy(file: Path) -> str:
    # No configuration: the user's, not ours.
    return _check("mypy", "--strict", "--config-file=", "--follow-imports=silent", str(file))


def _pyright_errors(file: Path) -> list[int]:
    report = json.loads(_check("pyright", "--outputjson", "--pythonpath", sys.executable, str(file)))
    found = [item for item in report["generalDiagnostics"] if item["severity"] == "error"]
    return sorted({item["range"]["start"]["line"] + 1 for item in found})


def test_mypy_strict_sees_the_original_types() -> None:
    assert _mypy(ACCEPTED).startswith("Success")


def test_mypy_strict_refuses_each_mistake(refused: Path) -> None:
    output = _mypy(refused)
    found = {int(number) for number in re.findall(r"refused\.py:(\d+): error", output)}
    assert sorted(found) == _lines_marked(refused), output


def test_pyright_sees_the_original_types() -> None:
    assert _pyright_errors(ACCEPTED) == []


def test_pyright_refuses_each_mistake(refused: Path) -> None:
    assert _pyright_errors(refused) == _lines_marked(refused)
