"""What stands in a run's totals, and when."""

from __future__ import annotations

from sqlalchemy import text

from otel_runs import attributes as key
from otel_runs.store.engine import Database
from tests.ingest.stored import Row, in_every_order, save, stored_run
from tests.ingest.traces import row_id, run_id, span

TOTALS = ("rows_in", "rows_out", "llm_calls", "input_tokens", "output_tokens", "tokens", "cost_usd", "steps")


def usage(tokens_in: int, tokens_out: int) -> dict[str, object]:
    return {key.GEN_AI_INPUT_TOKENS: tokens_in, key.GEN_AI_OUTPUT_TOKENS: tokens_out}


def root(database: Database) -> Row:
    return stored_run(database, run_id())


def test_agent_and_root_that_repeat_their_calls_tokens_are_not_counted_with_them(database: Database) -> None:
    save(
        database,
        [
            span(2, 1, kind="CLIENT", attributes={key.GEN_AI_OPERATION: "chat", **usage(900, 100)}),
            span(3, 1, kind="CLIENT", attributes={key.GEN_AI_OPERATION: "chat", **usage(415, 109)}),
        ],
        [span(1, 0, attributes={key.GEN_AI_OPERATION: "invoke_agent", **usage(1315, 209)})],
        [span(0, attributes=usage(1315, 209))],
    )
    run = root(database)
    assert (run["input_tokens"], run["output_tokens"], run["tokens"], run["llm_calls"]) == (1315, 209, 1524, 2)


def test_tokens_of_the_root_count_where_no_step_reports_any(database: Database) -> None:
    save(database, [span(0, attributes=usage(10, 2)), span(1, 0)])
    assert root(database)["tokens"] == 12


def test_tokens_of_the_root_give_way_to_those_of_a_late_step(database: Database) -> None:
    save(database, [span(0, attributes=usage(10, 2))])
    assert root(database)["tokens"] == 12
    save(database, [span(1, 0, attributes=usage(7, 1))])
    assert (root(database)["input_tokens"], root(database)["tokens"]) == (7, 8)


def test_rows_that_the_run_states_win_over_those_of_its_steps(database: Database) -> None:
    stated = {key.ROWS_IN: 100, key.ROWS_OUT: 90, key.COST_USD: 2.5}
    step = {key.ROWS_IN: 7, key.ROWS_OUT: 7, key.COST_USD: 0.5}
    save(database, [span(1, 0, attributes=step)], [span(0, attributes=stated)], [span(2, 0, attributes=step)])
    run = root(database)
    assert (run["rows_in"], run["rows_out"], run["cost_usd"], run["steps"]) == (100, 90, 2.5, 2)


def test_zero_rows_that_the_run_states_win_too(database: Database) -> None:
    save(database, [span(0, attributes={key.ROWS_OUT: 0}), span(1, 0, attributes={key.ROWS_OUT: 7})])
    assert root(database)["rows_out"] == 0


def test_totals_are_null_not_zero_where_no_step_reports(database: Database) -> None:
    save(database, [span(0), span(1, 0)])
    assert [root(database)[name] for name in TOTALS] == [None] * 7 + [1]


def test_run_without_steps_has_zero_steps_and_no_retries(database: Database) -> None:
    save(database, [span(0)])
    assert (root(database)["steps"], root(database)["retry_count"]) == (0, 0)


def test_totals_are_null_while_the_run_runs_and_added_up_when_it_ends(database: Database) -> None:
    step = span(1, 0, attributes={key.ROWS_OUT: 7, key.KIND: "llm", **usage(5, 1)})
    save(database, [span(0, open_=True), step])
    assert [root(database)[name] for name in TOTALS] == [None] * 8
    save(database, [span(0)])
    run = root(database)
    assert (run["rows_out"], run["llm_calls"], run["tokens"], run["steps"]) == (7, 1, 6, 1)


def test_late_step_is_added_up(database: Database) -> None:
    save(database, [span(0)], [span(1, 0, attributes={key.ROWS_OUT: 7})], [span(2, 0, attributes={key.ROWS_OUT: 5})])
    assert (root(database)["rows_out"], root(database)["steps"]) == (12, 2)


def test_step_that_arrives_twice_is_added_up_once(database: Database) -> None:
    step = span(1, 0, attributes={key.ROWS_OUT: 7})
    save(database, [span(0), step, step], [step], [span(0)])
    assert (root(database)["rows_out"], root(database)["steps"]) == (7, 1)


def test_nested_run_is_added_up_in_the_run_around_it_but_its_steps_are_not_counted(database: Database) -> None:
    inner = span(1, 0, attributes={key.KIND: "run"})
    save(database, [span(0), inner, span(2, 1, attributes={key.ROWS_OUT: 7}), span(3, 0, attributes={key.ROWS_OUT: 5})])
    assert (root(database)["rows_out"], root(database)["steps"]) == (12, 1)
    nested = stored_run(database, row_id(1))
    assert (nested["rows_out"], nested["steps"]) == (7, 1)


def test_rows_that_a_nested_run_states_win_over_its_steps_in_the_run_around_it_too(database: Database) -> None:
    inner = span(1, 0, attributes={key.KIND: "run", key.ROWS_OUT: 100})
    save(database, [span(0), inner, span(2, 1, attributes={key.ROWS_OUT: 7})])
    assert root(database)["rows_out"] == 100


def test_step_above_a_nested_run_that_repeats_its_rows_is_not_counted_with_it(database: Database) -> None:
    window = span(1, 0, attributes={key.ROWS_OUT: 7})
    inner = span(2, 1, attributes={key.KIND: "run"})
    save(database, [span(3, 2, attributes={key.ROWS_OUT: 7})], [inner], [window], [span(0)])
    assert root(database)["rows_out"] == 7


def test_cost_is_the_same_to_the_last_bit_in_any_order(database: Database) -> None:
    costs = [0.1, 0.7, 1e-9, 1e6, 0.2, 3.3]
    spans = [span(number, 0, attributes={key.COST_USD: cost}) for number, cost in enumerate(costs, 1)]
    save(database, [span(0)], *([each] for each in spans))
    forth = root(database)["cost_usd"]
    late = span(9, 0, attributes={key.COST_USD: 0.0})
    save(database, [late])
    assert root(database)["cost_usd"] == forth
    other = [each._replace(trace_id="ab" * 16) for each in (span(0), late, *reversed(spans))]
    save(database, *([each] for each in other))
    assert stored_run(database, "abababab-abab-abab-abab-abababababab")["cost_usd"] == forth


def test_what_a_running_run_shows_of_an_agent_is_what_it_has_when_it_has_ended(database: Database) -> None:
    chat = {key.GEN_AI_OPERATION: "chat", **usage(90, 10)}
    inside = [
        span(1, 0, attributes={key.GEN_AI_OPERATION: "invoke_agent", **usage(90, 10), key.COST_USD: 0.5}),
        span(2, 1, name="cycle"),
        span(3, 2, kind="CLIENT", attributes={**chat, key.COST_USD: 0.5}),
    ]
    save(database, [span(0, open_=True), *inside])
    with database.read() as connection:
        so_far = connection.execute(text("SELECT * FROM v_runs")).mappings().one()
    save(database, [span(0)])
    assert [so_far[name] for name in TOTALS] == [root(database)[name] for name in TOTALS]
    assert so_far["tokens"] == 100


def test_counts_that_add_up_to_more_than_a_column_holds_cost_no_run_its_end(database: Database) -> None:
    most = {key.ROWS_IN: 10**15, key.ROWS_AFFECTED: 10**15}
    save(database, [span(0, open_=True)], [span(number, 0, name="load", attributes=most) for number in range(1, 9_226)])
    with database.read() as connection:
        assert connection.execute(text("SELECT rows_in FROM v_runs")).scalar() == 2**63 - 1
        assert connection.execute(text("SELECT rows_affected FROM v_model_stats")).scalar() == 2**63 - 1
    save(database, [span(0)])
    assert (root(database)["status"], root(database)["rows_in"]) == ("completed", 2**63 - 1)


def test_each_call_of_a_step_has_retries_of_its_own(database: Database) -> None:
    tries = [
        span(
            2 * call + attempt,
            0,
            name="load",
            status="ERROR" if attempt == 1 else "UNSET",
            attributes={key.ATTEMPT: attempt},
        )
        for call in range(3)
        for attempt in (1, 2)
    ]
    for _ in in_every_order(database, [span(0)], tries[:2], tries[2:5], tries[5:]):
        assert (root(database)["status"], root(database)["retry_count"]) == ("completed", 3)
    gave_up = span(9, 0, name="load", status="ERROR", attributes={key.ATTEMPT: 1})
    for _ in in_every_order(database, [span(0)], tries, [gave_up]):
        assert (root(database)["status"], root(database)["retry_count"]) == ("degraded", 3)


def test_nested_run_that_ends_does_not_have_those_beside_it_added_up_again(database: Database) -> None:
    window = {key.KIND: "run"}
    save(database, [span(0, open_=True), span(1, 0, attributes=window), span(2, 1)])
    with database.write() as connection:  # what nobody derives again stays
        connection.execute(text("UPDATE runs SET steps = 99 WHERE id = :id"), {"id": row_id(1)})
    save(database, [span(4, 3)], [span(3, 0, attributes=window)])
    assert [stored_run(database, row_id(number))["steps"] for number in (1, 3)] == [99, 1]
