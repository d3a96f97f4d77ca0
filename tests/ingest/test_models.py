"""What outlives runs: models, what they depend on, environments."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from otel_runs import attributes as key
from otel_runs.ids import model_id_from_path
from otel_runs.ingest import Ingest
from otel_runs.ingest.declarations import save_environments
from otel_runs.mapping.facts import facts_from_span
from otel_runs.spans.span import Resource, Span
from otel_runs.store import tables
from otel_runs.store.engine import Database, open_database
from otel_runs.store.writer import Writer
from otel_runs.units import time_from_ns
from tests.ingest.stored import Row, in_every_order, rows_of, save, stored_model, stored_step
from tests.ingest.traces import SECOND, START, row_id, span

PATH = "marts.revenue"


def declaration(number: int, start: int, **attributes: Any) -> Span:
    named = {name.replace("_", ".", 1) if "." not in name else name: value for name, value in attributes.items()}
    declared = {f"otel_runs.{name}": value for name, value in named.items()}
    return span(number, 0, start=start, attributes={key.MODEL_PATH: PATH, key.KIND: "model", **declared})


def parents(database: Database, path: str = PATH) -> set[str]:
    found = [row["parent_id"] for row in rows_of(database, tables.dependencies)]
    assert {row["model_id"] for row in rows_of(database, tables.dependencies)} <= {model_id_from_path(path)}
    return set(found)


def environment(database: Database, name: str = "default") -> Row:
    return {row["name"]: row for row in rows_of(database, tables.environments)}[name]


def at(second: int) -> object:
    return time_from_ns(START + second * SECOND)


def test_declaration_of_a_model_is_stored(database: Database) -> None:
    declared = {
        "model_materialized": "table",
        "model_content_hash": "sha256:1",
        "model_owner": "ada",
        "model_schema_name": "marts",
        "model_tags": ("daily", "core"),
    }
    save(database, [span(0), declaration(1, 5, **declared)])
    model = stored_model(database, PATH)
    assert (model["name"], model["kind"], model["materialized"]) == ("revenue", "model", "table")
    assert (model["content_hash"], model["owner"], model["schema_name"]) == ("sha256:1", "ada", "marts")
    assert model["tags"] == ["daily", "core"]
    assert (model["created_at"], model["updated_at"]) == (at(5), at(5))
    assert stored_step(database, row_id(1))["model_id"] == model["id"]


def test_latest_declaration_stands_as_a_whole_in_any_order(database: Database) -> None:
    old = declaration(1, 5, model_tags=("daily",), model_owner="ada", model_depends_on=("raw.orders", "raw.users"))
    new = declaration(2, 9, model_materialized="view", model_depends_on=("raw.orders",))
    for _ in in_every_order(database, [span(0)], [old], [new]):
        model = stored_model(database, PATH)
        assert (model["materialized"], model["tags"], model["owner"]) == ("view", None, None)
        assert (model["created_at"], model["updated_at"]) == (at(5), at(9))
        assert parents(database) == {model_id_from_path("raw.orders")}


def test_declaration_without_dependencies_takes_the_old_ones_away(database: Database) -> None:
    old = declaration(1, 5, model_depends_on=("raw.orders",))
    new = declaration(2, 9, model_owner="ada")
    for _ in in_every_order(database, [old], [new]):
        assert parents(database) == set()


def test_later_use_that_declares_nothing_changes_nothing(database: Database) -> None:
    declared = declaration(1, 5, model_tags=("daily",), model_depends_on=("raw.orders",))
    used = span(2, 0, start=9, attributes={key.MODEL_PATH: PATH})
    for _ in in_every_order(database, [declared], [used]):
        model = stored_model(database, PATH)
        assert (model["tags"], model["kind"], model["updated_at"]) == (["daily"], "model", at(5))
        assert parents(database) == {model_id_from_path("raw.orders")}


def test_earlier_use_makes_the_model_older_but_not_its_declaration(database: Database) -> None:
    declared = declaration(1, 5, model_tags=("daily",))
    used = span(2, 0, start=3, attributes={key.MODEL_PATH: PATH})
    for _ in in_every_order(database, [declared], [used]):
        model = stored_model(database, PATH)
        assert (model["created_at"], model["updated_at"], model["tags"]) == (at(3), at(5), ["daily"])


def test_models_that_are_only_depended_on_exist(database: Database) -> None:
    save(database, [declaration(1, 5, model_depends_on=("raw.orders", "raw.orders", PATH))])
    assert stored_model(database, "raw.orders")["kind"] == "model"
    assert parents(database) == {model_id_from_path("raw.orders"), model_id_from_path(PATH)}


def test_two_declarations_of_one_moment_leave_the_same_model_in_any_order(database: Database) -> None:
    one, other = declaration(1, 5, model_owner="ada"), declaration(2, 5, model_owner="grace")
    owners = {stored_model(database, PATH)["owner"] for _ in in_every_order(database, [one], [other])}
    assert len(owners) == 1


def test_declaration_that_arrives_again_changes_nothing(database: Database) -> None:
    old, new = declaration(1, 5, model_owner="ada"), declaration(2, 9, model_owner="grace")
    save(database, [old], [new])
    before = rows_of(database, tables.models)
    save(database, [old], [new, old])
    assert rows_of(database, tables.models) == before


def test_of_one_span_the_declaration_of_its_end_stands_in_any_order(database: Database) -> None:
    """What a step says of its model while it runs is not in what was told of its start."""
    ended = declaration(1, 5, model_owner="ada", model_content_hash="sha256:2", model_depends_on=("raw.orders",))
    started = declaration(1, 5, model_owner="ada", model_content_hash="sha256:1")._replace(end_ns=None)
    for _ in in_every_order(database, [started], [ended]):
        assert stored_model(database, PATH)["content_hash"] == "sha256:2"
        assert parents(database) == {model_id_from_path("raw.orders")}


def test_of_one_span_that_declares_otherwise_on_two_ways_one_stands_in_any_order(database: Database) -> None:
    whole = declaration(1, 5, model_owner="ada", model_tags=("daily",))
    stripped = declaration(1, 5, model_owner="ada")
    tags = [stored_model(database, PATH)["tags"] for _ in in_every_order(database, [whole], [stripped])]
    assert tags[0] == tags[1]


@pytest.mark.parametrize(("first", "second"), [(3, 9), (9, 3)], ids=["the later run waits", "the earlier run waits"])
def test_two_runs_that_make_an_environment_at_once_leave_it_as_one_after_the_other(
    database: Database, database_url_for_test: str, first: int, second: int
) -> None:
    commits = {3: "a" * 40, 9: "b" * 40}
    with open_database(database_url_for_test) as other, ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            save_environments(Writer(connection), [facts_from_span(in_prod(0, first, commits[first]))])
            waiting = pool.submit(Ingest(other).save, [in_prod(1, second, commits[second])])
            time.sleep(0.3)  # long enough to meet; if it is not, the test asks for less, and passes
        waiting.result(60)
    prod = environment(database, "prod")
    assert (prod["commit_ref"], prod["created_at"], prod["updated_at"]) == ("b" * 40, at(3), at(9))


def in_prod(number: int, start: int, revision: str | None = None) -> Span:
    told = {} if revision is None else {key.VCS_REVISION: revision}
    return span(0, trace=number, start=start, resource=Resource({key.ENVIRONMENT: "prod", **told}))


def test_environment_has_the_commit_of_its_latest_run_that_tells_one(database: Database) -> None:
    runs = [in_prod(0, 3, "a" * 40)], [in_prod(1, 5, "b" * 40)], [in_prod(2, 9)]
    for _ in in_every_order(database, *runs):
        prod = environment(database, "prod")
        assert (prod["commit_ref"], prod["created_at"], prod["updated_at"]) == ("b" * 40, at(3), at(5))


def test_environment_without_commits_is_known(database: Database) -> None:
    for _ in in_every_order(database, [in_prod(0, 3)], [in_prod(1, 5)]):
        prod = environment(database, "prod")
        assert (prod["commit_ref"], prod["created_at"], prod["updated_at"]) == (None, at(3), at(3))


def test_run_that_names_no_environment_is_in_the_default_one(database: Database) -> None:
    save(database, [span(0)])
    assert environment(database)["name"] == "default"
    assert len(rows_of(database, tables.environments)) == 1
