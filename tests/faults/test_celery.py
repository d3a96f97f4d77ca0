"""Celery's workers are processes that fork, end after each task, and run no exit handlers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.databases import one_of_each_kind
from tests.faults.history import names
from tests.newest import only_newest
from tests.programs import Programs
from tests.servers.kept import KeptServer
from tests.servers.redis import Redis
from tests.servers.service import running
from tests.waiting import wait_until

pytestmark = only_newest

TASKS: Final = 4

APP: Final = """
import os
import celery
app = celery.Celery("pipelines", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.broker_connection_retry_on_startup = True
SETTING_UP
@app.task
def pipeline(number):
    from otel_runs import run, step
    with run(f"task {number}"), step(f"step {number}"):
        return os.getpid()
"""
AFTER_THE_FORK: Final = {
    "in the start of the process": """
from celery.signals import worker_process_init
@worker_process_init.connect
def configure(**_):
    import otel_runs
    otel_runs.configure()
""",
    "by the environment": "import otel_runs",
    "by the environment, imported by the task": "",
}
CLIENT: Final = f"""
import pipelines
results = [pipelines.pipeline.delay(number) for number in range({TASKS})]
print(len({{result.get(timeout=50) for result in results}}), "processes")
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture
def folder_of_worker() -> Path:
    """Not below pytest's: the worker is stopped with all that is in it."""
    return Path(tempfile.mkdtemp(prefix="celery-"))


@one_of_each_kind
def test_every_task_of_celery_is_stored_though_its_process_ends_with_it(
    programs: Programs, redis: Redis, folder_of_worker: Path, database_url_for_test: str
) -> None:
    run_tasks(programs, redis, folder_of_worker, database_url_for_test, "import otel_runs; otel_runs.configure()")


@pytest.mark.parametrize("setting_up", AFTER_THE_FORK.values(), ids=AFTER_THE_FORK)
def test_every_task_of_celery_is_stored_where_its_process_sets_up_for_itself(
    programs: Programs, redis: Redis, folder_of_worker: Path, setting_up: str
) -> None:
    run_tasks(programs, redis, folder_of_worker, f"sqlite:///{programs.database}", setting_up)


def run_tasks(programs: Programs, redis: Redis, folder_of_worker: Path, url: str, setting_up: str) -> None:
    """Start a worker, let it do its tasks, each in a process of its own, and look what is stored of them."""
    programs.write(APP.replace("SETTING_UP", setting_up), "pipelines.py")
    environ = programs.environ({"REDIS": redis.url, "OTEL_RUNS_DB": url})
    pool = ("--pool=prefork", "--concurrency=2", "--max-tasks-per-child=1")
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")  # it waits for no other workers to answer
    options = [f"--workdir={programs.folder}", "--app=pipelines", "worker", *pool, *alone]
    command = [sys.executable, "-m", "celery", *options]
    worker = KeptServer(command, folder=folder_of_worker, environ=environ)
    try:
        done = programs.python(CLIENT, environ=environ)
        assert (done.returncode, done.stdout) == (0, f"{TASKS} processes\n"), done.stderr + worker.log()
        # The result is there before the process of the task has ended.
        expected = {f"{what} {n}": 1 for what in ("task", "step") for n in range(TASKS)}
        wait_until(lambda: names(url) == expected, what="rows of every task")
    finally:
        worker.stop()
