"""Whether a run that was not heard of counts as lost. Each rule prefers a dead run called living to the opposite."""

from __future__ import annotations

from typing import Literal, NamedTuple

from otel_runs.process import is_alive, pid_of
from otel_runs.store.living import LivingRun

Verdict = Literal["lost", "spared", "awaited", "heard"]


class Judgement(NamedTuple):
    """What is to become of a run, and why."""

    run: LivingRun
    verdict: Verdict
    """``heard``: it was heard of not long ago. ``awaited``: nobody has watched for long enough to say more."""
    reason: str
    seconds_left: float = 0.0
    """Of watching, until an awaited run counts as lost."""


class Limits(NamedTuple):
    """How long a run may be silent. Both in seconds."""

    lost_after: float
    confirm: float
    """How long to watch a run whose last heartbeat is older than that already. Longer than it takes from one heartbeat
    to the next."""


def judge(run: LivingRun, *, age: float, silent: float, limits: Limits) -> Judgement:
    """Judge one run.

    Args:
        run: as it is stored.
        age: seconds since its last heartbeat, by the two machines' clocks. Negative where one of them is wrong.
        silent: seconds for which nothing was heard of it while somebody watched.
        limits: how long it may be silent.
    """
    is_due = age >= limits.lost_after or silent >= limits.lost_after
    if not is_due and age >= 0:
        return Judgement(run, "heard", f"heard of {age:.0f} s ago")
    lives = is_alive(run.process)
    if lives:
        reason = f"its process {pid_of(run.process)} lives on this machine; it is stopped, or cannot write"
        return Judgement(run, "spared", reason)
    if lives is False and is_due and not run.has_parts:
        return Judgement(run, "lost", f"its process {pid_of(run.process)} on this machine has ended")
    # A heartbeat from the future says nothing of its age: only watching does.
    needed = limits.confirm if age >= limits.lost_after else limits.lost_after
    if silent >= needed:
        return Judgement(run, "lost", f"not heard of in {silent:.0f} s of watching")
    return Judgement(run, "awaited", f"watched for only {silent:.0f} s", needed - silent)
