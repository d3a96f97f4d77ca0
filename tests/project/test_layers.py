"""Data flows one way: a room imports from rooms to its left only, and knows nothing of what is not its business."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.project.imports import PACKAGE, Import, imports, imports_of, room_of, rooms

LAYERS: list[set[str]] = [
    {
        "errors",
        "settings",
        "attributes",
        "units",
        "amounts",
        "ids",
        "clock",
        "process",
        "children",
        "counters",
        "garbage",
    },
    {"spans", "records"},
    {"mapping"},
    {"store"},
    {"ingest", "query"},
    {"spool"},
    {"instrument", "export", "importer", "launch", "reaper", "receiver"},
    {"server", "doctor"},
    {"cli", "demo"},
]
"""Left to right. Rooms of one layer may know each other, where ``MUST_NOT_KNOW`` does not say otherwise."""

SQL = {"alembic", "psycopg", "sqlalchemy", "sqlite3"}
TERMINAL = {"rich", "typer"}
OTEL = {"opentelemetry"}
READ_SIDE = {"otel_runs.query"}
STORE = {"otel_runs.store", "otel_runs.ingest"}

MUST_NOT_KNOW: dict[str, set[str]] = {
    "spans": SQL | TERMINAL,
    "records": SQL | TERMINAL | OTEL,
    "mapping": SQL | TERMINAL | OTEL,
    "store": TERMINAL | OTEL,
    "ingest": TERMINAL | OTEL | READ_SIDE,
    "query": TERMINAL | OTEL | {"otel_runs.ingest", "otel_runs.store.writer"},
    "spool": SQL | TERMINAL | OTEL | STORE | READ_SIDE,
    "instrument": SQL | TERMINAL | STORE | READ_SIDE,
    "export": SQL | TERMINAL | READ_SIDE,
    "importer": SQL | TERMINAL | READ_SIDE | {"otel_runs.instrument", "otel_runs.export"},
    "reaper": SQL | TERMINAL | OTEL | READ_SIDE,
    "receiver": SQL | TERMINAL | READ_SIDE | {"otel_runs.instrument", "otel_runs.export", "otel_runs.store"},
    "server": SQL | TERMINAL | READ_SIDE | {"otel_runs.instrument", "otel_runs.export"},
    "doctor": SQL | TERMINAL | {"otel_runs.ingest", "otel_runs.instrument"},
    "cli": SQL | OTEL | {"otel_runs.store.tables", "otel_runs.ingest", "otel_runs.mapping"},
}
"""What a room must not import, ours and others'."""

PLACE = {room: place for place, layer in enumerate(LAYERS) for room in layer}


def against_the_flow(found: Import) -> bool:
    """Whether an import of ours points to the right."""
    if not found.module.startswith(f"{PACKAGE}.") or found.importer == "":
        return False  # the package itself is the face of all rooms
    target = room_of(found.module)
    if target not in PLACE:  # a public name: only what stands where a user stands takes these
        return PLACE[found.importer] < PLACE["cli"] and target != "__version__"
    return PLACE[target] > PLACE[found.importer]


def is_forbidden(found: Import) -> bool:
    """Whether a room imports what it must not know."""
    return any(f"{found.module}.".startswith(f"{name}.") for name in MUST_NOT_KNOW.get(found.importer, ()))


def test_every_room_has_a_layer_and_every_layer_names_rooms_that_exist() -> None:
    assert rooms() == set(PLACE)
    assert set(MUST_NOT_KNOW) <= set(PLACE)


def test_imports_point_left_only() -> None:
    assert [str(found) for found in imports() if against_the_flow(found)] == []


def test_rooms_know_only_what_is_their_business() -> None:
    assert [str(found) for found in imports() if is_forbidden(found)] == []


def test_no_import_is_relative_so_that_every_import_says_which_room_it_enters() -> None:
    assert [str(found) for found in imports() if found.module.startswith("None.")] == []


@pytest.mark.parametrize(
    ("source", "flows", "allowed"),
    [
        ("from otel_runs.records import Run", True, True),
        ("from otel_runs.store import tables", False, True),
        ("def f():\n    import otel_runs.cli", False, True),
        ("from otel_runs import run", False, True),
        ("import sqlalchemy.orm", True, False),
        ("from opentelemetry import trace", True, False),
        ("import opentelemetry_of_another_name", True, True),
    ],
)
def test_wrong_imports_of_the_mapping_are_found(source: str, *, flows: bool, allowed: bool) -> None:
    [found] = imports_of(source, "otel_runs/mapping/rules.py")
    assert (not against_the_flow(found), not is_forbidden(found)) == (flows, allowed)


HEAVY = {"alembic", "grpc", "opentelemetry.sdk", "orjson", "psycopg", "rich", "sqlalchemy", "typer"}


@pytest.mark.parametrize(
    ("statement", "kept_out"),
    [
        ("import otel_runs", HEAVY),
        ("from otel_runs import run, step, model, record, skip, instrument", HEAVY),
        ("from otel_runs import RunsSpanExporter, configure", {"alembic", "grpc", "rich", "typer"}),
    ],
)
def test_import_loads_nothing_that_a_pipeline_may_never_need(statement: str, kept_out: set[str]) -> None:
    program = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=60)
    assert kept_out & set(json.loads(done.stdout)) == set()
