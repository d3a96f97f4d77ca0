"""docs/sql.md: every question on the page is asked, and both databases give the answer written here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from otel_runs.store.engine import Database
from tests.sql.history import A_MINUTE_AGO, NOON, History, Spans, end

PAGE = Path(__file__).parents[2] / "docs/sql.md"
BLOCK = re.compile(r"(?:^(?P<dialect>SQLite|PostgreSQL):\n)?^```sql\n(?P<sql>.*?)^```", re.MULTILINE | re.DOTALL)


def questions(dialect: str) -> Iterator[tuple[str, str]]:
    """Each question's title, and the statement for one database."""
    for section in re.split(r"^#{2,3} ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        for block in BLOCK.finditer(section):
            if (block["dialect"] or dialect).lower() == dialect:
                yield title, block["sql"]


def answers(history: History) -> dict[str, list[tuple[Any, ...]]]:
    days = {days: str((NOON - timedelta(days=days)).date()) for days in (1, 2, 3, 40)}
    return {
        "The latest run of an environment": [(history.latest, "nightly", "completed", 0.62, None)],
        "What failed in the last week": [("nightly", "dev", "ValueError")],
        "What is running, and is it longer than an hour": [("shop", "test", 0)],
        "Runs a day": [
            (str(A_MINUTE_AGO.date()), 1, 0, None),
            (days[1], 1, 0, 0.62),
            (days[2], 1, 0, 0.75),
            (days[3], 1, 1, 0.25),
            (days[40], 1, 0, 1.25),
        ],
        "Each run against the one before it": [
            ("nightly", "dev", 1.25, None),
            ("nightly", "dev", 0.25, -1.0),
            ("nightly", "prod", 0.75, None),
            ("nightly", "dev", 0.62, pytest.approx(0.37)),
        ],
        "The time that nine runs of ten stay below": [("nightly", 1.25), ("part_0", 0.03), ("window_0", 0.05)],
        "A run and the runs nested in it": [("nightly", 0), ("window_0", 1), ("part_0", 2)],
        "Runs by a word of their metadata": [("nightly", "prod", "north")],
        "Whether this input was already worked on": [(1,)],
        "The slowest steps of the latest run": [
            ("marts.revenue", "success", 600),
            ("notes.summary", "success", 90),
            ("staging.orders", "skipped", 0),
        ],
        "How reliable each model is": [
            ("marts.revenue", 5, 3, 2, 0, 60.0),
            ("notes.summary", 1, 1, 0, 0, 100.0),
            ("staging.orders", 7, 6, 0, 1, 100.0),
        ],
        "Which models failed, and why": [
            ("nightly", "dev", "marts.revenue", 1, "ValueError"),
            ("nightly", "prod", "marts.revenue", 1, "TimeoutError"),
        ],
        "What was tried more than once": [("marts.revenue", 2)],
        "Who built a model last": [
            ("marts.revenue", "dev", 1),
            ("notes.summary", "dev", 1),
            ("staging.orders", "test", 0),
        ],
        "What a change of a model reaches": [("marts.revenue",), ("staging.orders",)],
        "Tokens by language model": [("small-1", 1, 100, 50, 150)],
        "Delete what is older than thirty days": [],
    }


def plain(value: Any) -> Any:
    """A value in a form that both databases share."""
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def test_every_question_of_the_page_has_its_answer_on_every_database(history: History) -> None:
    asked = {
        title: [tuple(plain(value) for value in row) for row in history.ask(sql)]
        for title, sql in questions(history.dialect)
    }
    assert asked == answers(history)
    # The page's last statement deletes.
    assert sorted(history.ask("SELECT id FROM runs")) == sorted(
        (run,) for run in (history.failed, history.prod, history.latest, history.running)
    )


def test_latest_run_is_not_the_last_one_nested_in_it(history: History) -> None:
    spans = Spans()
    run = spans.start("nightly", A_MINUTE_AGO)
    spans.revenue(run, A_MINUTE_AGO, 300)
    window = spans.start("window_1", A_MINUTE_AGO + timedelta(milliseconds=300), parent=run, kind="run")
    spans.orders(window, A_MINUTE_AGO + timedelta(milliseconds=300), 40)
    end(window, A_MINUTE_AGO, 350)
    latest = end(run, A_MINUTE_AGO, 400)
    spans.save(history.database)
    asked = dict(questions(history.dialect))
    assert history.ask(asked["The latest run of an environment"])[0][0] == latest
    assert history.ask(asked["The slowest steps of the latest run"]) == [("marts.revenue", "success", 300)]
    built = {path: bool(by_latest) for path, _, by_latest in history.ask(asked["Who built a model last"])}
    assert built == {"marts.revenue": True, "notes.summary": False, "staging.orders": False}


@pytest.mark.parametrize("view", ["v_runs", "v_model_runs", "v_model_stats"])
def test_view_has_the_columns_that_the_page_promises(database: Database, view: str) -> None:
    section = PAGE.read_text(encoding="utf-8").partition(f"### {view}\n")[2].partition("\n#")[0]
    promised = re.findall(r"`(\w+)`", section.partition("\n|")[0])
    assert [column["name"] for column in inspect(database.engine).get_columns(view)] == promised
