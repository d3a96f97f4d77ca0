"""Measuring by comparison: every round takes each contender once, and ratios are taken within a round.

A machine's speed drifts by more than what is measured here; two things measured one after the other share the drift.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import NamedTuple


class Line(NamedTuple):
    """One line of the result."""

    question: str
    ours: str
    other: str
    ratio: float | None
    """Ours divided by the other's; None where the goal is about our number alone."""
    goal: str
    is_met: bool


class Samples(NamedTuple):
    """What each contender took, round by round."""

    of: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        """A contender's typical round."""
        return median(self.of[name])

    def ratio(self, name: str, other: str) -> float:
        """The median, over rounds, of one contender divided by another."""
        return median(mine / theirs for mine, theirs in zip(self.of[name], self.of[other], strict=True))


def interleaved(contenders: Mapping[str, Callable[[], float]], rounds: int) -> Samples:
    """Call each contender once a round; every other round goes backwards, so that none is always first."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        names = list(contenders)
        for name in reversed(names) if number % 2 else names:
            samples[name].append(contenders[name]())
    return Samples(samples)
