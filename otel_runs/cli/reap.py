"""``otel-runs reap``: declare the runs lost that nobody will ever end."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_runs import settings
from otel_runs.cli.options import Database

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_runs.reaper.judgement import Judgement, Limits

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_HEARTBEATS_TO_WATCH: Final = 1.5


def reap_command(
    context: typer.Context,
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="TIME",
            help="How old the last heartbeat of a run must be: 90s, 5m, 2h. Default: OTEL_RUNS_LOST_AFTER, 60s.",
        ),
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option(
            "--watch",
            metavar="TIME",
            help="How long to watch a run whose process is not on this machine before it counts as lost. Choose more "
            "than the pipelines' OTEL_RUNS_HEARTBEAT. Default: one and a half times as much, 15s.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    db: Database = None,
) -> None:
    """Declare runs lost that are said to run and are not heard of any more.

    They and their open steps become failed, with stop_reason lost. A run whose process lives on this machine is spared,
    also a stopped one; a run of another machine is watched first. A run that is heard of again runs again, and its real
    end replaces the presumed one. The exit code is 0 whether runs were lost or not.
    """
    from otel_runs.reaper.judgement import Limits

    lost_after = _seconds(older_than, "--older-than", _above_zero(settings.LOST_AFTER))
    confirm = _seconds(watch, "--watch", _HEARTBEATS_TO_WATCH * _above_zero(settings.HEARTBEAT))
    run_reap(db or context.obj, Limits(lost_after, confirm), json=json)


def run_reap(url: str | None, limits: Limits, *, json: bool) -> None:
    """Reap once and say what became of the runs.

    Raises:
        StoreError: the database cannot be read or written.
    """
    from otel_runs.amounts import many
    from otel_runs.cli.output import hint, print_json, stdout
    from otel_runs.reaper.once import reap_once

    def say(runs: int, seconds: float) -> None:
        hint(f"Watching {many(runs, 'run')} for {math.ceil(seconds)} s: their processes cannot be seen from here.")

    judgements = reap_once(url, limits, say)
    lost, spared, heard = (
        [each for each in judgements if each.verdict == verdict] for verdict in ("lost", "spared", "heard")
    )
    if json:
        print_json({"lost": _objects(lost), "spared": _objects(spared), "heard": _objects(heard)})
        return
    console = stdout()
    for each in [*lost, *spared]:
        console.print(_line(each), soft_wrap=True)
    console.print(f"{many(len(lost), 'run')} lost, {len(spared)} spared, {len(heard)} heard of.", soft_wrap=True)


def _line(judgement: Judgement) -> str:
    from otel_runs.cli.text import one_line, time
    from otel_runs.units import time_from_ns

    run = judgement.run
    last = time(time_from_ns(run.heartbeat_at))
    return f"{judgement.verdict:6}  {run.id}  {one_line(run.name)}  last heard of {last}: {judgement.reason}"


def _objects(judgements: Iterable[Judgement]) -> list[dict[str, object]]:
    from otel_runs.units import time_from_ns

    return [
        {
            "id": each.run.id,
            "trace_id": each.run.trace_id,
            "name": each.run.name,
            "heartbeat_at": time_from_ns(each.run.heartbeat_at),
            "reason": each.reason,
        }
        for each in judgements
    ]


def _above_zero(setting: settings.Setting[float]) -> float:
    """The setting; its default, where it is 0 to switch something off that this command does all the same."""
    return settings.value(setting) or settings.default_of(setting)


def _seconds(text: str | None, option: str, default: float) -> float:
    if text is None:
        return default
    found = _DURATION.fullmatch(text.strip())
    value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < value < float("inf"):
        msg = f"{option} is {text!r}; expected a time above 0: 90s, 5m or 2h"
        raise typer.BadParameter(msg)
    return value
