"""Rules for the program itself, in real processes: their site is prepared as ``otel-runs exec`` does it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

_SITE = """
import sys
from otel_runs.instrument import script
from otel_runs.instrument.rules import rules_from_targets

script.install(rules_from_targets(runs={runs!r}, steps={steps!r}))

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

def line(span):
    return f"{{span.attributes['otel_runs.kind']}} {{span.attributes['otel_runs.model.path']}}\\n"

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line, out=sys.stderr)))
trace.set_tracer_provider(provider)
"""

_SCRIPT = '''"""A script."""
from __future__ import annotations

import sys
from functools import lru_cache

def load_orders() -> int:
    return 1

@lru_cache
def load_items() -> int:
    return 2

class Loader:
    @classmethod
    def load(cls) -> str:
        return cls.__name__

def main() -> None:
    print(load_orders(), load_items(), load_items(), Loader.load(), sys.argv[1:], __name__, __spec__, __doc__)
    print(sys.path[0])

if __name__ == "__main__":
    main()
'''

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def python(tmp_path: Path) -> Run:
    """Run Python with rules, in a folder with a script and a package."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    for path in ("pipeline.py", "shop/nightly.py", "shop/__main__.py"):
        (tmp_path / path).write_text(_SCRIPT)
    (tmp_path / "site").mkdir()

    def run(*arguments: str, runs: list[str] | None = None, steps: list[str] | None = None) -> object:
        (tmp_path / "site" / "sitecustomize.py").write_text(_SITE.format(runs=runs or [], steps=steps or []))
        return subprocess.run(
            [sys.executable, *arguments],
            env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run  # type: ignore[return-value]  # a function with the protocol's signature


@pytest.mark.parametrize("module", ["pipeline", "__main__"])
def test_functions_of_a_script_are_recorded(python: Run, tmp_path: Path, module: str) -> None:
    done = python(
        "pipeline.py", "-m", "x", runs=[f"{module}:main"], steps=[f"{module}:load_*", f"{module}:Loader.load"]
    )
    assert done.stderr.splitlines() == [
        "step pipeline.load_orders",
        "step pipeline.load_items",
        "step pipeline.Loader.load",
        "run pipeline.main",
    ]
    assert done.stdout == f"1 2 2 Loader ['-m', 'x'] __main__ None A script.\n{tmp_path}\n"


def test_script_behaves_as_without_us(python: Run, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "helper.py").write_text("VALUE = 7")
    (tmp_path / "sub" / "odd").write_text(
        "import helper, sys\nprint(helper.VALUE, __file__, __package__, __spec__, sys.argv, sorted(globals()))\n"
        "def fail():\n    raise SystemExit(3)\nfail()\n"
    )
    plain = python("-u", "sub/odd", "a")
    ours = python("-u", "sub/odd", "a", steps=["odd:fail"])
    assert "step odd.fail" in ours.stderr
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)
    assert ours.returncode == 3


def test_traceback_of_a_script_keeps_its_lines(python: Run, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("\n\ndef load():\n    1 / 0\n\nload()\n")
    done = python("pipeline.py", steps=["pipeline:load"])
    assert f'File "{tmp_path}/pipeline.py", line 6, in <module>\n    load()\n' in done.stderr
    assert f'File "{tmp_path}/pipeline.py", line 4, in load\n    1 / 0\n' in done.stderr
    assert done.returncode == 1


def test_module_that_python_runs_by_name_is_recorded(python: Run, tmp_path: Path) -> None:
    done = python("-m", "shop.nightly", "-v", steps=["shop.nightly:load_orders"])
    assert done.stderr == "step shop.nightly.load_orders\n"
    assert "['-v'] __main__ ModuleSpec(name='shop.nightly'" in done.stdout


@pytest.mark.parametrize("module", ["shop", "shop.__main__", "__main__"])
def test_package_that_python_runs_is_recorded(python: Run, module: str) -> None:
    done = python("-Bm", "shop", steps=[f"{module}:load_orders"])
    assert done.stderr == "step shop.load_orders\n"


def test_modules_that_a_script_imports_are_recorded(python: Run, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from shop.nightly import load_orders\nload_orders()\n")
    done = python("main.py", steps=["shop.nightly:load_orders"])
    assert done.stderr == "step shop.nightly.load_orders\n"


def test_what_the_script_decorates_itself_is_recorded_once_and_its_way(python: Run, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(
        "from otel_runs import model\n\n@model(path='shop.orders')\ndef load(): pass\n\nload()\n"
    )
    done = python("pipeline.py", steps=["pipeline:load"])
    assert done.stderr == "model shop.orders\n"


def test_pattern_that_fits_nothing_in_a_script_is_told(python: Run) -> None:
    done = python("pipeline.py", steps=["pipeline:extract"])
    assert "No function of module pipeline fits 'extract'" in done.stderr
    assert "It has: load_orders, load_items, Loader.load, main." in done.stderr


def test_a_command_that_is_called_like_its_module_is_recorded(python: Run, tmp_path: Path) -> None:
    """As pip writes it: ``bin/orders`` imports ``main`` from ``orders``."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "orders").write_text(
        "import sys\nfrom pathlib import Path\n"
        "sys.path.insert(0, str(Path(__file__).parents[1]))\nfrom orders import main\nmain()\n"
    )
    (tmp_path / "orders.py").write_text("def load(): pass\ndef main(): load()\n")
    done = python("bin/orders", steps=["orders:load"])
    assert done.stderr == "step orders.load\n"
    done = python("bin/orders", steps=["orders:lod"])
    assert "No function of module orders fits 'lod'" in done.stderr
    assert "It has: load, main." in done.stderr


def test_a_module_that_imports_itself_is_recorded_twice_as_it_is_there_twice(python: Run, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(
        "def load(): pass\nif __name__ == '__main__':\n    import pipeline\n    load()\n    pipeline.load()\n"
    )
    done = python("pipeline.py", steps=["pipeline:load"])
    assert done.stderr == "step pipeline.load\n" * 2


@pytest.mark.parametrize("arguments", [["-c", "def load(): pass"], ["folder"]], ids=["-c", "a folder"])
def test_a_program_whose_functions_cannot_be_recorded_is_told(
    python: Run, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text("def load(): pass\nload()\n")
    done = python(*arguments, steps=["__main__:load"])
    assert done.returncode == 0
    assert done.stderr.startswith("Module __main__ was never loaded from a file of its own, so nothing of it was")


def test_a_script_that_is_nested_too_deeply_to_be_changed_runs_all_the_same(python: Run, tmp_path: Path) -> None:
    branches = "".join(f"elif value == {number}:\n    pass\n" for number in range(1500))
    (tmp_path / "pipeline.py").write_text(
        f"def load(): pass\nvalue = 0\nif value:\n    pass\n{branches}load()\nprint('done')\n"
    )
    done = python("pipeline.py", steps=["pipeline:load"])
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "its code is nested too deeply" in done.stderr


def test_script_in_a_spawned_process_is_recorded_too(python: Run, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(
        textwrap.dedent("""
            import multiprocessing

            def load(value):
                return value * 2

            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.map(load, [1, 2]))
        """)
    )
    done = python("pipeline.py", steps=["pipeline:load"])
    assert done.stdout == "[2, 4]\n"
    assert done.stderr.count("step pipeline.load\n") == 2


def test_script_leaves_no_compiled_file_behind(python: Run, tmp_path: Path) -> None:
    python("pipeline.py", steps=["pipeline:load_*"])
    assert not (tmp_path / "__pycache__").exists()
