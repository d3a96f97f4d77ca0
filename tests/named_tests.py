"""The tests that a page names as ``tests/room/test_file.py::test_name``."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

_NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<name>\w+)`")


class NamedTest(NamedTuple):
    """A test, by its file and name."""

    file: str
    name: str

    @property
    def problem(self) -> str | None:
        """Why there is no such test; None if there is."""
        if not (ROOT / self.file).is_file():
            return f"{self.file} does not exist"
        return None if self.name in _functions_of(self.file) else f"{self.file} has no test {self.name}"


def named_tests(text: str) -> tuple[NamedTest, ...]:
    """All that a text names, in its order."""
    return tuple(NamedTest(*found) for found in _NAMED.findall(text))


@cache
def _functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
