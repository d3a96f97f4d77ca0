"""Which attribute fills which column; what is kept, refused and left out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_runs import attributes as key
from otel_runs.errors import MappingError
from otel_runs.mapping import vocabulary
from otel_runs.mapping.facts import facts_from_span
from otel_runs.mapping.vocabulary import COLUMNS
from otel_runs.records import ModelRun
from otel_runs.spans.span import NO_ATTRIBUTES
from tests.ingest.traces import span
from tests.mapping.values import VALUES

KNOWN_KEYS = sorted({source.key for sources in COLUMNS.values() for source in sources})


def step(attributes: Mapping[str, object] = NO_ATTRIBUTES, keep: tuple[str, ...] = ()) -> ModelRun:
    found = facts_from_span(span(1, 0, attributes=attributes), keep).model_run
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("column", "keys"),
    [
        ("rows_out", (key.ROWS_OUT, key.DB_RETURNED_ROWS)),
        ("rows_affected", (key.ROWS_AFFECTED, key.DB_ROWS_AFFECTED, key.DB_AFFECTED_ROWS)),
        ("input_tokens", (key.GEN_AI_INPUT_TOKENS, key.GEN_AI_PROMPT_TOKENS)),
        ("output_tokens", (key.GEN_AI_OUTPUT_TOKENS, key.GEN_AI_COMPLETION_TOKENS)),
    ],
)
def test_first_key_that_can_be_read_fills_the_column_in_any_order(column: str, keys: tuple[str, ...]) -> None:
    for order in itertools.permutations(keys):
        assert getattr(step({name: keys.index(name) + 1 for name in order}), column) == 1
        unreadable_first = {name: "n/a" if name == keys[0] else keys.index(name) + 1 for name in order}
        assert getattr(step(unreadable_first), column) == 2


def test_model_that_answered_wins_over_the_one_asked() -> None:
    assert step({key.GEN_AI_REQUEST_MODEL: "m", key.GEN_AI_RESPONSE_MODEL: "m-2"}).llm_model == "m-2"
    assert step({key.GEN_AI_REQUEST_MODEL: "m", key.GEN_AI_SYSTEM: "p"})[19:21] == ("p", "m")


def test_total_of_tokens_is_stated_or_the_sum_of_what_is_known() -> None:
    assert step({key.GEN_AI_INPUT_TOKENS: 5, key.GEN_AI_OUTPUT_TOKENS: 2}).tokens == 7
    assert step({key.GEN_AI_INPUT_TOKENS: 5}).tokens == 5
    assert step({key.GEN_AI_INPUT_TOKENS: 5, key.GEN_AI_OUTPUT_TOKENS: 2, key.GEN_AI_TOTAL_TOKENS: 9}).tokens == 9
    assert step().tokens is None


def test_cached_tokens_are_inside_the_input_tokens_and_not_added() -> None:
    cached = {"gen_ai.usage.cache_read.input_tokens": 80, "gen_ai.usage.cache_creation.input_tokens": 10}
    assert step({key.GEN_AI_INPUT_TOKENS: 100, **cached}).tokens == 100


def test_model_run_without_counts_stores_null_not_zero() -> None:
    row = step()
    assert (row.rows_in, row.rows_out, row.rows_affected, row.tokens, row.cost_usd) == (None,) * 5


def test_model_run_with_zero_counts_stores_zero_not_null() -> None:
    row = step({key.ROWS_IN: 0, key.ROWS_OUT: 0, key.ROWS_AFFECTED: 0, key.GEN_AI_INPUT_TOKENS: 0, key.COST_USD: 0})
    assert (row.rows_in, row.rows_out, row.rows_affected, row.tokens, row.cost_usd) == (0, 0, 0, 0, 0.0)


def test_attempt_is_1_where_the_span_does_not_say_or_says_nonsense() -> None:
    assert [step({key.ATTEMPT: value}).attempt for value in (2, "3", 0, "n/a")] == [2, 3, 1, 1]
    assert step().attempt == 1


@pytest.mark.parametrize("length", [1, 63, 64, 65, 300])
def test_metadata_is_kept_or_left_out_whatever_the_length_of_its_key(length: int) -> None:
    ours, other, unwanted = f"otel_runs.metadata.{'k' * length}", f"app.{'k' * length}", f"lib.{'k' * length}"
    row = step({ours: 1, other: 2, unwanted: 3}, ("app.*",))
    assert row.metadata == {"k" * length: 1, other: 2}
    assert step({ours: 1, other: 2}).metadata == {"k" * length: 1}


def test_metadata_of_our_own_is_kept_under_its_short_name() -> None:
    assert step({"otel_runs.metadata.batch": 7, "otel_runs.metadata.who": ("a", "b")}).metadata == {
        "batch": 7,
        "who": ["a", "b"],
    }


def test_nothing_else_is_kept_without_being_asked_for() -> None:
    prompts = {"gen_ai.input.messages": '[{"role": "user"}]', "gen_ai.output.messages": "[]", "db.query.text": "SELECT"}
    row = step({**prompts, "http.request.header.authorization": ("secret",), "app.customer": "acme"})
    assert row.metadata is None
    assert not [value for value in row if isinstance(value, str) and ("SELECT" in value or "role" in value)]


def test_asked_for_attributes_are_kept_under_their_full_names() -> None:
    told = {"batch.size": 5, "batch.no": "7", "app.customer": "a", "app.other": "b"}
    row = step(told, ("batch.*", "app.customer"))
    assert row.metadata == {"batch.size": 5, "batch.no": "7", "app.customer": "a"}


def test_asked_for_attribute_that_fills_a_column_is_in_its_column_only() -> None:
    row = step({key.ROWS_IN: 5, "otel_runs.unheard_of": 1}, ("otel_runs.*",))
    assert (row.rows_in, row.metadata) == (5, {"otel_runs.unheard_of": 1})


def test_strict_mapping_names_span_key_and_value() -> None:
    with pytest.raises(MappingError) as raised:
        facts_from_span(span(1, 0, attributes={key.ROWS_AFFECTED: "many"}), strict=True)
    assert "0000000000000002" in str(raised.value)
    assert "otel_runs.rows_affected is 'many' (str)" in str(raised.value)


def test_strict_mapping_takes_what_it_can_read() -> None:
    facts = facts_from_span(span(1, 0, attributes={key.ROWS_AFFECTED: "12", "app.customer": object()}), strict=True)
    assert facts.model_run is not None
    assert facts.model_run.rows_affected == 12


@given(st.dictionaries(st.sampled_from([*KNOWN_KEYS, "otel_runs.metadata.x", "app.y"]), VALUES, max_size=6))
def test_no_value_of_any_known_attribute_is_an_error(attributes: dict[str, object]) -> None:
    for parent in (None, 0):
        facts = facts_from_span(span(1, parent, attributes=attributes), ("app.*",))
        assert facts.run is not None or facts.model_run is not None


def test_keys_that_a_sender_invents_for_each_span_are_not_remembered_for_ever() -> None:
    before = len(vocabulary._PLANS)
    for number in range(2 * vocabulary._MOST_PLANS):
        step({f"invented.{number}": "x", key.ROWS_OUT: 3})
        step({"x" * 5_000 + str(number): "x"})
    assert before <= vocabulary._MOST_PLANS
    assert len(vocabulary._PLANS) <= vocabulary._MOST_PLANS
    assert all(sum(map(len, names)) < 5_000 for names in vocabulary._PLANS)


def test_the_same_keys_are_kept_by_one_pattern_and_not_by_another() -> None:
    attributes = {"team.name": "data", key.METADATA_PREFIX + "part": "a"}
    kept = [step(attributes, keep).metadata for keep in ((), ("team.*",), (), ("team.*",))]
    assert kept == [{"part": "a"}, {"team.name": "data", "part": "a"}] * 2
