"""How long nothing was heard of runs, by the watch of who looks.

The time of a heartbeat is by the clock of another machine, and both clocks may be wrong or jump. So it is compared with
nothing but itself: a heartbeat that is another one than at the last look is a sign of life, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_runs.store.living import LivingRun


class Watch:
    """What was seen of each run, and since when.

    Args:
        longest_gap: seconds between two looks. After a longer one nobody can say what happened in between: this process
            was stopped, its machine asleep or the database away, and so may heartbeats have been. Then the watch begins
            anew.
    """

    def __init__(self, longest_gap: float) -> None:
        self._longest_gap = longest_gap
        self._last_look: float | None = None
        self._seen: dict[str, tuple[tuple[int, str | None], float]] = {}

    def look(self, runs: Iterable[LivingRun], began: float, ended: float) -> dict[str, float]:
        """Take down what is seen of the runs now.

        Args:
            runs: all that are said to live.
            began: monotonic seconds, before they were read.
            ended: the same afterwards.

        Returns:
            Run id -> seconds for which nothing was heard of it, 0 of a run that is new here.
        """
        # A look that hangs is a gap, too: whoever could not read, others could not write.
        if self._last_look is not None and ended - self._last_look > self._longest_gap:
            self._seen = {}
        self._last_look = began
        seen: dict[str, tuple[tuple[int, str | None], float]] = {}
        for run in runs:
            sign = (run.heartbeat_at, run.process)
            known = self._seen.get(run.id)
            seen[run.id] = known if known is not None and known[0] == sign else (sign, ended)
        self._seen = seen
        return {id_: max(0.0, began - since) for id_, (_, since) in seen.items()}
