"""Bird strikes: from a file of reports to two tables. The pipeline of ``otel-runs demo``, made to be copied.

What otel_runs asks of a pipeline is ``@run``, ``@step``, ``@model`` and ``configure()``; the rest is plain Python.
"""

from __future__ import annotations

import csv
import gzip
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection, Cursor, connect

from otel_runs import configure, model, record, run, skip, step

SOURCE = Path(__file__).with_name("strikes.csv.gz")
BREAKS_OFF = iter([False, True])  # The second download does, so that there is something to retry.
WAREHOUSE = """
    CREATE TABLE strikes (date, airport, phase, species, speed_knots, cost_usd);
    CREATE TABLE airports (name PRIMARY KEY);
    CREATE TABLE phases (year, phase, strikes, cost_usd, PRIMARY KEY (year, phase));
    CREATE TABLE years (year PRIMARY KEY, strikes, cost_usd);
"""


@step(retries=2, rows_out="len")
def extract(last_year: int) -> list[dict[str, str]]:
    if next(BREAKS_OFF, False):
        raise ConnectionResetError(f"{SOURCE.name}: the download broke off")
    with gzip.open(SOURCE, "rt", encoding="utf-8") as file:
        return [strike for strike in csv.DictReader(file) if int(strike["date"][:4]) <= last_year]


@step(rows_in="len", rows_out="len")
def clean(strikes: list[dict[str, str]]) -> list[dict[str, str]]:
    return [strike for strike in strikes if strike["speed_knots"]]


@step(rows_affected="len")
def load(strikes: list[dict[str, str]], warehouse: Connection) -> Cursor:
    warehouse.execute("DELETE FROM strikes")
    insert = "INSERT INTO strikes VALUES (:date, :airport, :phase, :species, :speed_knots, :cost_usd)"
    return warehouse.executemany(insert, strikes)


@step(rows_affected="len")
def load_airports(warehouse: Connection) -> Cursor:
    added = warehouse.execute("INSERT OR IGNORE INTO airports SELECT DISTINCT airport FROM strikes")
    return added if added.rowcount else skip("unchanged")


@model(path="birds.phases", materialized="table", rows_affected="len")
def phases(warehouse: Connection) -> Cursor:
    select = "SELECT substr(date, 1, 4), phase, count(*), sum(cost_usd) FROM strikes GROUP BY 1, 2"
    return warehouse.execute(f"INSERT OR REPLACE INTO phases {select}")


@model(path="birds.years", materialized="table", rows_affected="len", depends_on=[phases])
def years(warehouse: Connection) -> Cursor:
    select = "SELECT year, sum(strikes), sum(cost_usd) FROM phases GROUP BY 1"
    return warehouse.execute(f"INSERT OR REPLACE INTO years {select}")


@run
def bird_strikes(warehouse: Connection, last_year: int) -> None:
    reports = extract(last_year)
    strikes = clean(reports)
    load(strikes, warehouse)
    load_airports(warehouse)
    phases(warehouse)
    years(warehouse)
    record(rows_in=len(reports), rows_out=len(strikes))


def main() -> None:
    with closing(connect(":memory:")) as warehouse:
        warehouse.executescript(WAREHOUSE)
        for last_year in (2000, 2001):
            bird_strikes(warehouse, last_year)


if __name__ == "__main__":
    configure()
    main()
