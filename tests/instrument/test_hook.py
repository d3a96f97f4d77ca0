"""Recording functions of a module without touching its code."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_runs import instrument
from otel_runs.errors import InstrumentError
from otel_runs.instrument.rules import Rule, fits, parse_target, rules_from_targets

_MODULE = textwrap.dedent("""
    from json import dumps
    from otel_runs import step

    def load_orders(): return "orders"
    def load_items(): return _load_private()
    def _load_private(): return "items"

    async def fetch(): return 1

    @step("by hand")
    def load_by_hand(): return "hand"

    class Loader:
        def load(self): return type(self).__name__
        @staticmethod
        def check(): return True
        def __len__(self): return 7

    def main(): return [load_orders(), load_items(), load_by_hand(), Loader().load()]
""")


@pytest.fixture
def module_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a module that can be imported and has not been."""
    name = f"pipeline_of_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_functions_are_recorded_when_the_module_is_imported(spans: Any, module_name: str) -> None:
    instrument(module_name, run="main", steps=["load_*", "Loader.load"], models="fetch")
    assert module_name not in sys.modules
    module = importlib.import_module(module_name)
    assert module.main() == ["orders", "items", "hand", "Loader"]
    assert spans.names() == ["load_orders", "load_items", "by hand", "Loader.load", "main"]
    assert spans.attributes("main")["otel_runs.kind"] == "run"
    assert spans.attributes("load_orders")["otel_runs.model.path"] == f"{module_name}.load_orders"
    assert inspect.iscoroutinefunction(module.fetch)


def test_module_that_is_imported_already_is_recorded_at_once_and_once(spans: Any, module_name: str) -> None:
    module = importlib.import_module(module_name)
    for _ in range(2):
        instrument(module_name, steps="load_orders")
    module.load_orders()
    assert spans.names() == ["load_orders"]


def test_pattern_that_fits_nothing_is_told_with_what_there_is(
    module_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    instrument(module_name, steps=["extract", "dumps"])
    importlib.import_module(module_name)
    assert len(caplog.messages) == 2
    assert f"No function of module {module_name} fits 'extract'" in caplog.messages[0]
    assert "It has: load_orders, load_items, _load_private, fetch, load_by_hand, Loader.load" in caplog.messages[0]


def test_objects_that_do_as_they_like_do_not_break_the_import(
    spans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "odd_objects.py").write_text(
        textwrap.dedent("""
            class Lazy:
                def __getattribute__(self, name):
                    if name == "__class__":  # tests that look through all objects ask for it
                        return Lazy
                    raise RuntimeError("not configured")

            class Frozen(type):
                def __setattr__(cls, name, value):
                    raise AttributeError("frozen")

            class Conf(metaclass=Frozen):
                def load(self): pass

            settings = Lazy()

            def load_orders(): pass
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    instrument("odd_objects", steps=["load_*", "Conf.load"])
    module = importlib.import_module("odd_objects")
    module.load_orders()
    module.Conf().load()
    assert spans.names() == ["load_orders"]
    assert "odd_objects:Conf.load cannot be recorded: AttributeError('frozen')" in caplog.text


def test_module_that_is_never_imported_is_told_at_exit() -> None:
    program = """
import otel_runs
otel_runs.instrument("shop.pipelin", steps="load")
otel_runs.instrument("json", run="dumps")
import json
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "Module shop.pipelin was never imported, so nothing of it was recorded. Is its name right?\n"


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("load", "load", True),
        ("load_*", "load_orders", True),
        ("load_*", "Load_orders", False),
        ("*", "load", True),
        ("*", "_load", False),
        ("_*", "_load", True),
        ("*", "Loader.load", False),
        ("Loader.*", "Loader.load", True),
        ("Loader.*", "Loader.__init__", False),
        ("Loader.__init__", "Loader.__init__", True),
        ("*.load", "Loader.load", True),
    ],
)
def test_patterns_fit_like_those_of_a_shell(pattern: str, name: str, expected: bool) -> None:
    assert fits(pattern, name) is expected


def test_targets_of_the_command_line_become_rules() -> None:
    assert parse_target("shop.pipeline:load_*") == ("shop.pipeline", "load_*")
    rules = rules_from_targets(runs=["shop:main"], models=["etl:m"], steps=["shop:load_*", "shop:Loader.load"])
    assert set(rules) == {Rule("shop", runs=("main",), steps=("load_*", "Loader.load")), Rule("etl", models=("m",))}


@pytest.mark.parametrize("text", ["load_*", "shop.pipeline:", ":load", "shop-pipeline:load", "", "shop.:load"])
def test_malformed_target_says_what_is_expected(text: str) -> None:
    with pytest.raises(InstrumentError, match=r"names no functions; expected MODULE:PATTERN, for instance 'shop"):
        parse_target(text)
