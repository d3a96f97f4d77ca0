"""Runs inside runs: the order in which their rows are written, and circles, which only forged spans make."""

from __future__ import annotations

import pytest

from otel_runs.ingest.nesting import endless, outermost_first
from otel_runs.mapping.runs import RunState, Seen, placeholder

SEEN = Seen(0, "etl", "dev", "0" * 32)


def runs(**around: str | None) -> dict[str, RunState]:
    """Runs by id, from the run that each is in."""
    return {run_id: placeholder(run_id, outer, SEEN) for run_id, outer in around.items()}


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ({}, []),
        ({"b": None, "a": None}, ["a", "b"]),
        ({"a": "b", "b": "c", "c": None}, ["c", "b", "a"]),
        ({"c": None, "b": "c", "a": "c", "0": "a"}, ["c", "a", "b", "0"]),
        ({"b": "elsewhere", "a": "b"}, ["b", "a"]),
        ({"a": "elsewhere", "b": None}, ["a", "b"]),
    ],
)
def test_runs_are_written_behind_those_that_they_are_in(around: dict[str, str | None], expected: list[str]) -> None:
    assert [state.run.id for state in outermost_first(runs(**around))] == expected


def test_long_chain_of_runs_is_put_in_order_without_recursion() -> None:
    chain = [f"{number:04d}" for number in range(5000)]
    nested = runs(**dict(zip(chain, [*chain[1:], None], strict=True)))
    assert [state.run.id for state in outermost_first(nested)] == chain[::-1]


def test_runs_in_a_circle_are_all_written_and_what_is_inside_comes_behind() -> None:
    ordered = [state.run.id for state in outermost_first(runs(a="b", b="a", inside="a"))]
    assert sorted(ordered) == ["a", "b", "inside"]
    assert ordered.index("inside") > ordered.index("a")


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ({"a": "b", "b": "c", "c": None}, []),
        ({"a": "elsewhere"}, []),
        ({"a": "a"}, ["a"]),
        ({"a": "b", "b": "a", "inside": "a", "deeper": "inside", "fine": None}, ["a", "b", "deeper", "inside"]),
        ({"0": "a", "a": "b", "b": "a", "fine": "top", "top": None}, ["0", "a", "b"]),
    ],
)
def test_runs_in_a_circle_and_inside_one_are_found(around: dict[str, str | None], expected: list[str]) -> None:
    known = runs(**around)
    assert sorted(endless(known, known)) == expected
    # Each alone, too: whatever was judged before.
    assert sorted(run_id for run_id in known if endless([run_id], known)) == expected
