"""How long runs were silent, by the watch of who looks and by no other clock."""

from __future__ import annotations

from otel_runs.reaper.watch import Watch
from otel_runs.store.living import LivingRun


def living(heartbeat_at: int, process: str | None = None) -> LivingRun:
    return LivingRun("r", "0" * 32, "nightly", heartbeat_at, process, has_parts=False)


def test_run_is_silent_from_the_end_of_the_first_look_to_the_begin_of_this_one() -> None:
    watch = Watch(longest_gap=30)
    assert watch.look([living(7)], 100, 102) == {"r": 0}
    assert watch.look([living(7)], 110, 111) == {"r": 8}
    assert watch.look([living(7)], 130, 131) == {"r": 28}


def test_any_other_heartbeat_is_a_sign_of_life_whatever_time_it_tells() -> None:
    for other in (living(8), living(6), living(7, "another process")):
        watch = Watch(longest_gap=30)
        watch.look([living(7)], 100, 100)
        assert watch.look([other], 120, 120) == {"r": 0}
        assert watch.look([other], 125, 125) == {"r": 5}


def test_watch_begins_anew_after_a_gap_in_which_nobody_looked() -> None:
    watch = Watch(longest_gap=30)
    watch.look([living(7)], 100, 100)
    assert watch.look([living(7)], 131, 131) == {"r": 0}
    assert watch.look([living(7)], 140, 140) == {"r": 9}


def test_look_that_hangs_is_a_gap_too() -> None:
    watch = Watch(longest_gap=30)
    watch.look([living(7)], 100, 100)
    assert watch.look([living(7)], 110, 111) == {"r": 10}
    assert watch.look([living(7)], 120, 180) == {"r": 0}
    assert watch.look([living(7)], 185, 185) == {"r": 0}
    assert watch.look([living(7)], 195, 195) == {"r": 10}


def test_run_that_was_away_is_new_when_it_comes_back() -> None:
    watch = Watch(longest_gap=30)
    watch.look([living(7)], 100, 100)
    watch.look([], 110, 110)
    assert watch.look([living(7)], 120, 120) == {"r": 0}
