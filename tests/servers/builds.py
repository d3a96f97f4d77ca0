"""Real servers that no Python package carries: built once from their lock files, and kept for every later run.

``make servers`` runs this file as a program. A build's place, below ``$XDG_CACHE_HOME`` or ``~/.cache``, has the hash
of its lock files and of its recipe in its name, so a new version is a new place and nothing old is ever run by mistake.
Tests only take what is there: a build takes minutes, a test must not.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.servers.missing import ServerMissingError, in_ci

LOCKS: Final = Path(__file__).parent / "locks"
_BUILD_SECONDS: Final = 1800
_GO_BUILD: Final = ("go", "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o")
_COLLECTOR_BUILDER: Final = "go.opentelemetry.io/collector/cmd/builder@v0.158.0"


class Recipe(NamedTuple):
    """How a server is built in a copy of its lock files' folder."""

    commands: tuple[tuple[str, ...], ...]
    """The first word of the first one is the tool that the machine must have."""
    result: str
    """What the tests take, a file or a folder."""


RECIPES: Final = {
    "collector": Recipe(
        (
            # The builder's own "go mod tidy" asks for modules that only tests of modules need; go.mod and go.sum are
            # ours.
            ("go", "run", _COLLECTOR_BUILDER, "--config=manifest.yaml", "--skip-get-modules", "--skip-compilation"),
            ("cp", "go.mod", "go.sum", "build/"),
            ("env", "--chdir=build", *_GO_BUILD, "../otelcol", "."),
        ),
        "otelcol",
    ),
    "jaeger": Recipe(((*_GO_BUILD, "jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger"),), "jaeger"),
    "compose": Recipe(((*_GO_BUILD, "docker-compose", "github.com/docker/compose/v2/cmd"),), "docker-compose"),
    "kafka": Recipe((("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"),), "libs"),
}


def built(name: str) -> Path:
    """A server's program, or its folder of libraries.

    Raises:
        ServerMissingError: it is not built yet.
    """
    result = _place_of(name) / RECIPES[name].result
    if not result.exists():
        msg = f"{name} is not built ({result} is missing): run make servers, which needs {tool_of(name)}"
        raise ServerMissingError(msg)
    return result


def build(name: str) -> Path:
    """A server's program, or its folder of libraries; built if it is not there yet.

    Whoever asks while another builds waits for that build.

    Raises:
        ServerMissingError: the tool is not on this machine, or the build fails.
    """
    place = _place_of(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.with_name(f"{place.name}.lock")):
        if not place.exists():
            _build(name, place)
    return built(name)


def tool_of(name: str) -> str:
    """The program that builds a server."""
    return RECIPES[name].commands[0][0]


def _place_of(name: str) -> Path:
    hashed = hashlib.sha256(repr(RECIPES[name]).encode())
    for lock in sorted((LOCKS / name).iterdir()):
        hashed.update(lock.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "otel_runs" / "servers" / f"{name}-{hashed.hexdigest()[:16]}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, also if the process is killed
        yield


def _build(name: str, place: Path) -> None:
    if shutil.which(tool_of(name)) is None:
        msg = f"{name} needs {tool_of(name)}, which is not on this machine"
        raise ServerMissingError(msg)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{name}-building-") as parent:
        folder = Path(parent, name)
        shutil.copytree(LOCKS / name, folder)
        for command in RECIPES[name].commands:
            _run(command, folder)
        done = Path(parent, "done")
        done.mkdir()
        result = RECIPES[name].result
        (folder / result).rename(done / result)
        done.rename(place)  # whole or not at all


def _run(command: tuple[str, ...], folder: Path) -> None:
    done = subprocess.run(
        # A developer's machine, or the other tests, come first.
        ["nice", *command],
        cwd=folder,
        env=os.environ | {"CGO_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        msg = f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        raise ServerMissingError(msg)


def main() -> int:
    """Build what is not built yet, one after another; tell what cannot be built."""
    missing = 0
    for name in RECIPES:
        start = time.monotonic()
        try:
            result = build(name)
        except ServerMissingError as exc:
            print(f"{exc}\nTests that need {name} are skipped, and fail in CI.", file=sys.stderr)
            missing += 1
        else:
            print(f"{name}: {result} ({time.monotonic() - start:.0f} s)", flush=True)
    return 1 if missing and in_ci() else 0


if __name__ == "__main__":
    sys.exit(main())
