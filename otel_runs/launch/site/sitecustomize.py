"""Python imports this at its start, because ``otel-runs exec`` puts its folder first on PYTHONPATH.

Nothing else may be in this folder: it is on every program's path.
"""
# ruff: noqa: INP001  a package here would be on that path, too

import sys
from importlib import import_module
from pathlib import Path


def _prepare() -> None:
    try:
        from otel_runs.launch.child import prepare
    except ImportError as exc:
        sys.stderr.write(
            f"otel-runs exec: {sys.executable} cannot import otel_runs ({exc}), so this process records no steps; "
            "install otel-runs there to see them.\n"
        )
        return
    try:
        prepare()
    except Exception as exc:  # noqa: BLE001  the program comes first: it runs without us
        sys.stderr.write(f"otel-runs exec: this process records no steps: {type(exc).__name__}: {exc}\n")


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


_prepare()
_import_next()
