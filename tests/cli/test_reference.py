from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from otel_runs.settings import SETTINGS
from tests.cli.conftest import CommandLine

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that writes the pages."""
    spec = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "settings.md"])
def test_page_is_what_its_script_writes_now(reference: ModuleType, page: str) -> None:
    expected = reference.PAGES[DOCS / page]()
    assert (DOCS / page).read_text(encoding="utf-8") == expected, "run: python docs/make_reference.py"


def test_every_command_and_option_has_help_and_is_documented(reference: ModuleType) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    for command in reference.commands():
        assert f"\n## {command.words}\n" in page
        assert command.command.help, command.words
        for parameter in command.command.params:
            assert parameter.help, (command.words, parameter.name)
            assert all(f"`{option}" in page for option in parameter.opts if option.startswith("-"))


def test_usage_and_list_of_commands_are_those_of_the_page_and_whole(
    reference: ModuleType, otel_runs: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    for command in reference.commands():
        _, usage, rest = re.split(
            r"Usage: (.+?)(?: \[ARGS\]\.\.\.)? *\n", otel_runs(*command.words.split()[1:], "--help").out
        )
        assert f"`{usage}`" in page
        assert "..." not in rest.partition("Commands")[2]


def test_help_says_a_default_once(reference: ModuleType) -> None:
    """Typer adds a default to the help by itself, which may say it already."""
    twice = [
        (command.words, parameter.name)
        for command in reference.commands()
        for parameter in command.command.params
        if parameter.default is not None and parameter.show_default and "Default: " in (parameter.help or "")
    ]
    assert twice == []


def test_every_setting_is_documented() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert all(f"| `{setting.env}` |" in page for setting in SETTINGS)
