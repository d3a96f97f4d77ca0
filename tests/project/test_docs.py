"""Every command and every program on a page is run, in order, as a reader would run it: in an empty folder.

``documents.py`` says how a page takes a block out, saves it as a file, or promises an output.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project.documents import DEMO_MARK, ROOT, Block, blocks_of, pages, same_output
from tests.servers.missing import sqlite3_shell

BIN = Path(sys.executable).parent
SECONDS = 60
"""That one block may take."""

RUN_BY_OTHERS = {("docs/sql.md", "sql"): "tests/sql/test_sql_page.py"}
"""Page and language of blocks that have a better test, on every database."""

PAGES = [page for page in pages() if page.parent in {ROOT, ROOT / "docs", ROOT / "collector-config"}]


def test_the_tests_that_pages_are_left_to_read_these_pages() -> None:
    for (page, _), test in RUN_BY_OTHERS.items():
        assert page in (ROOT / test).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def demo_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``otel-runs demo`` was run."""
    folder = tmp_path_factory.mktemp("demo")
    _run(["otel-runs", "demo"], folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_does_what_it_says(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if DEMO_MARK in page.read_text(encoding="utf-8"):
        shutil.copytree(request.getfixturevalue("demo_history"), tmp_path, dirs_exist_ok=True)
    follow(page, tmp_path)


def follow(page: Path, folder: Path) -> None:
    """Do everything that a page says, in a folder.

    Python blocks that follow each other are one program: later ones use what earlier ones define.

    Raises:
        AssertionError: something does not come out as the page says.
    """
    printed, program = "", ""
    for block in blocks_of(page):
        where = f"{page.name}:{block.line}"
        if block.mark is not None and block.mark.word == "not run":
            assert block.mark.value, f"{where}: say why the block is not run"
        elif block.mark is not None and block.mark.word == "file":
            assert block.mark.value, f"{where}: say under which name the block is saved"
            (folder / block.mark.value).write_text(block.text, encoding="utf-8")
        elif block.mark is None and block.language == "python":
            # As many lines above it as on the page: a traceback then names the page's line.
            program += "\n" * (block.line - program.count("\n")) + block.text
        elif block.mark is None and (_name_of(page), block.language) in RUN_BY_OTHERS:
            continue
        else:
            printed, program = (_python(program, page, folder) if program else printed), ""
            if block.mark is not None:
                assert same_output(block.text, printed), f"{where} promises\n{block.text}\nbut prints\n{printed}"
            else:
                assert block.language in WAYS, f"{where}: '{block.language}' is none of python, {', '.join(WAYS)}"
                printed = WAYS[block.language](block, folder)
    if program:
        _python(program, page, folder)


def _name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else ""


def _run(command: list[str], folder: Path) -> str:
    """What a command prints; its environment is a newcomer's, with this environment's programs first in its path."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "COV_", "COVERAGE_"))}
    environ |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "COLUMNS": "120"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode} of {command}:\n{done.stdout}"
    return done.stdout


def _bash(block: Block, folder: Path) -> str:
    if "sqlite3 " in block.text:
        sqlite3_shell()
    return _run(["bash", "-euo", "pipefail", "-c", block.text], folder)


def _python(program: str, page: Path, folder: Path) -> str:
    file = folder / f"{page.stem}_page.py"
    file.write_text(program, encoding="utf-8")
    return _run([sys.executable, file.name], folder)


def _sql(block: Block, folder: Path) -> str:
    return _run([sqlite3_shell(), ".otel_runs/runs.db", block.text], folder)


def _toml(block: Block, folder: Path) -> str:
    tomllib.loads(block.text)
    return ""


def _json(block: Block, folder: Path) -> str:
    json.loads(block.text)
    return ""


def _only_read(block: Block, folder: Path) -> str:
    return ""


WAYS: dict[str, Callable[[Block, Path], str]] = {
    "bash": _bash,
    "sh": _bash,
    "sql": _sql,
    "toml": _toml,
    "json": _json,
    "text": _only_read,
    "yaml": _only_read,
}
"""What is done with a block of a language."""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("```bash\nfalse | true\n```\n", "exit code 1"),
        ("```python\nraise SystemExit(3)\n```\n", "exit code 3"),
        ("```bash\necho one\n```\n<!-- output -->\n```text\ntwo\n```\n", "promises"),
        ("<!-- not run: -->\n```bash\nfalse\n```\n", "exit code 1"),
        ("```\nwhat is this?\n```\n", "is none of"),
    ],
)
def test_page_that_does_not_do_what_it_says_fails(tmp_path: Path, text: str, reason: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=reason):
        follow(page, tmp_path)


def test_page_saves_runs_skips_and_compares_its_blocks_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- file: hello.py -->\n```python\nprint('took 1.52s')\nprint('any')\nprint('end')\n```\n"
        "<!-- not run: it needs a server -->\n```bash\nfalse\n```\n"
        "```bash\npython hello.py\n```\n<!-- output -->\n```text\ntook   9.99s\n...\nend\n```\n",
        encoding="utf-8",
    )
    follow(page, tmp_path)
