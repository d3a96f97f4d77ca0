"""``docker-compose.yml`` as the real Compose client reads it; no container engine is asked."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from tests.project.documents import ROOT
from tests.servers.builds import built

Service = dict[str, Any]


def composition(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The whole file, with variables filled in.

    Args:
        environ: variables that a user sets.

    Raises:
        ServerMissingError: the Compose client is not built.
    """
    command = [str(built("compose")), "--file", str(ROOT / "docker-compose.yml"), "config", "--format", "json"]
    # A developer's own password or .env file is not the test's business.
    command[1:1] = ["--env-file", os.devnull]
    environ = {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir()} | dict(environ or {})
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


def on_this_machine(service: Service, text: str) -> str:
    """A path in the service's container, as the path of the file that is mounted there."""
    for volume in service.get("volumes", []):
        if volume["type"] == "bind":
            text = text.replace(volume["target"], volume["source"])
    return text
