"""Functions of ours that Python processes call before their program starts; nothing of the program need be touched."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "OTEL_RUNS_AT_START"
"""Internal, and so not in the settings' table: ``module:function``, separated by blanks. Read by ``site/``."""
_SITE: Final = Path(__file__).parent / "site"


def call_at_start(environ: MutableMapping[str, str], function: str) -> None:
    """Have every Python process with this environment call a function at its start, after those that it calls already.

    Args:
        environ: of the program to be started.
        function: ``module:function``; without arguments.
    """
    functions = [*environ.get(VARIABLE, "").split(), function]
    environ[VARIABLE] = " ".join(dict.fromkeys(functions))
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_SITE), environ.get("PYTHONPATH"))))
