"""docs/doctor.md names every check, and none that does not exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import otel_runs.doctor

PAGE = Path(__file__).parents[2] / "docs/doctor.md"
SOURCES = sorted(Path(otel_runs.doctor.__path__[0]).glob("*.py"))


def test_page_lists_every_check() -> None:
    calls = [node for file in SOURCES for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    names = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Finding"]
    checks = {name.value for name in names if isinstance(name, ast.Constant)}
    assert checks
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)) == checks
