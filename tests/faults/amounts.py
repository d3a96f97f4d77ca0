"""How much of a fault: little on a developer's machine, more in CI, and as much as a variable says anywhere."""

from __future__ import annotations

import os

from tests.servers.missing import in_ci


def amount(variable: str, *, here: int, in_ci_: int) -> int:
    """A number from the environment, or else a default."""
    return int(os.environ.get(variable) or (in_ci_ if in_ci() else here))
