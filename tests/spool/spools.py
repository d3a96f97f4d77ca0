"""A spool as tests fill, replay and read it."""

from __future__ import annotations

import json
from pathlib import Path

from otel_runs.spool import files
from otel_runs.spool.replay import Replayed, replay
from otel_runs.spool.spool import Spool
from tests.spool.stored import Stored


def spool_in(folder: Path, *, max_bytes: int = 10_000_000, sync: bool = False) -> Spool:
    return Spool(folder, max_bytes=max_bytes, sync=sync)


def replay_all(folder: Path, stored: Stored) -> Replayed:
    """Replay as another process would."""
    done = Replayed()
    for part in replay(spool_in(folder), stored.save):
        done += part
    return done


def quarantined(folder: Path) -> list[dict[str, object]]:
    return [
        json.loads(line) for path in files.paths_in(folder / "quarantine") for line in path.read_text().splitlines()
    ]
