"""A program: opens and writes an SQLite database as a user without rights, and prints the error it gets.

Usage: python open_unprivileged.py PATH CREATE
"""

import os
import sys

import alembic.command  # noqa: F401 - imported while this process may still read everything

from otel_runs.errors import OtelRunsError
from otel_runs.store.engine import open_database

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    with open_database(sys.argv[1], create=sys.argv[2] == "True") as database, database.write() as connection:
        connection.exec_driver_sql("DELETE FROM runs")
except OtelRunsError as exc:
    print(type(exc).__name__, exc)
