"""Python imports this at its start, because launch/at_start.py puts its folder first on PYTHONPATH.

Nothing else may be in this folder: it is on every program's path.
"""
# ruff: noqa: INP001  a package here would be on that path, too

import os
import sys
from importlib import import_module
from pathlib import Path


def _call(function: str) -> None:
    module, _, name = function.partition(":")
    try:
        call = getattr(import_module(module), name)
    except ImportError as exc:
        sys.stderr.write(
            f"otel-runs: {sys.executable} cannot import otel_runs ({exc}), so nothing is seen of what this process "
            "does; install otel-runs there.\n"
        )
        return
    try:
        call()
    except Exception as exc:  # noqa: BLE001  the program comes first: it runs without us
        sys.stderr.write(f"otel-runs: nothing is seen of what this process does: {type(exc).__name__}: {exc}\n")


def _import_next() -> None:
    """Import the ``sitecustomize`` that Python would have found without ours."""
    here = Path(__file__).parent
    path = list(sys.path)
    sys.path[:] = [folder for folder in path if Path(folder) != here]
    ours = sys.modules.pop("sitecustomize")
    try:
        import_module("sitecustomize")
    except ModuleNotFoundError as exc:
        if exc.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = ours
    finally:
        sys.path[:] = path


for each in os.environ.get("OTEL_RUNS_AT_START", "").split():
    _call(each)
_import_next()
