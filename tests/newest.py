"""What is tested on the newest versions alone."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import pytest
from packaging.version import Version

needs_new_grpc: Final = pytest.mark.skipif(
    Version(version("grpcio")) < Version("1.80"),
    reason="grpcio 1.62 answers bare bytes of HTTP/2 otherwise, and limits no connections (1.85 does)",
)

only_newest: Final = pytest.mark.skipif(
    Version(version("opentelemetry-sdk")) < Version("1.45"),
    reason="what this needs is installed beside the newest versions alone (pyproject.toml, group newest)",
)
"""Not by whether it can be imported: in an environment that ought to have it, its absence fails."""
