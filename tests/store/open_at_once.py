"""A program: opens a database in several processes at the same moment, and fails if one of them fails.

Usage: python open_at_once.py URL PROCESSES
"""

import os
import sys

import alembic.command  # noqa: F401 - imported before the fork, so that the processes meet in the database

from otel_runs.store.engine import open_database


def main(url: str, processes: int) -> int:
    """Fork, let all go at once, and count those that failed."""
    ready, go = os.pipe()
    children = []
    for _ in range(processes):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)  # returns when the parent closes its end
            with open_database(url) as database, database.read():
                assert not database.schema_state().pending
            os._exit(0)
        children.append(child)
    os.close(go)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
