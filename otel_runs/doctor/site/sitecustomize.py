"""Python imports this at its start, because ``otel-runs doctor -- PROGRAM`` puts its folder first on PYTHONPATH.

Nothing else may be in this folder: it is on the path of every program that is examined.
"""
# ruff: noqa: INP001  a package here would be on that path, too

import sys
from importlib import import_module
from pathlib import Path


def _look() -> None:
    try:
        from otel_runs.doctor.inside import look
    except ImportError:
        return  # another Python without otel_runs: no report says so
    look()


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


_look()
_import_next()
