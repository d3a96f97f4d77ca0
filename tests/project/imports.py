"""Who imports whom inside the package, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.project.documents import ROOT

PACKAGE = "otel_runs"


class Import(NamedTuple):
    """One import statement's module."""

    file: str
    line: int
    module: str
    """Dotted and absolute: ``from otel_runs.store import tables`` imports ``otel_runs.store.tables``."""

    @property
    def importer(self) -> str:
        """The room of the importing file."""
        return room_of(".".join(Path(self.file).with_suffix("").parts))

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def room_of(module: str) -> str:
    """The first folder or file of the package that a module is in; "" for the package itself."""
    parts = module.removesuffix(".__init__").split(".")
    return parts[1] if len(parts) > 1 else ""


def rooms() -> set[str]:
    """Every room there is."""
    return {
        path.stem
        for path in (ROOT / PACKAGE).iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }


def imports() -> Iterator[Import]:
    """All imports of the package, those inside functions and those for type checkers too."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        yield from imports_of(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))


def imports_of(source: str, file: str) -> Iterator[Import]:
    """The imports of one file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(file, node.lineno, f"{node.module}.{name.name}") for name in node.names)
