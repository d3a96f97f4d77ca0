"""Pipelines that are killed at random moments. A program, for test_kills.py; its arguments: a database's URL, a number.

One process loads everything and forks the pipelines, so that each costs milliseconds instead of a start of Python. It
has used nothing of what it has loaded: each pipeline sets itself up, as a process of its own does.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import signal
import sys
import time
import traceback

import psycopg  # noqa: F401  loaded for the pipelines
from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id

import otel_runs
import otel_runs.export.configure
import otel_runs.ingest.splitting
import otel_runs.store.engine
import otel_runs.store.migrations

STEPS = 20
WORDS = STEPS + 3
"""That a pipeline says if it is left alone."""
AT_ONCE = 4
"""Pipelines that run beside each other."""
LONGEST_PAUSE = 0.01
"""Seconds between what a pipeline says and its death, at most: more than one transaction takes."""


class Pipeline:
    """A pipeline that is killed a random pause after it has said a random number of words."""

    def __init__(self, url: str) -> None:
        self.hear, told = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            try:
                pipeline(url, told)
            except BaseException:  # noqa: BLE001  a defect must be seen, and the fork must not run on as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(told)
        self._heard = b""
        self._last_words = random.randint(0, WORDS)
        self._kill_if_due()

    @property
    def said(self) -> list[str]:
        """``run <trace id>``, ``step <span id>`` once it is confirmed, ``ending``, ``ended``."""
        return self._heard.decode("ascii").splitlines()

    def listen(self) -> bool:
        """Hear more of it, and kill it if it is due; False when it has said its last."""
        heard = os.read(self.hear, 65_536)
        self._heard += heard
        if heard:
            self._kill_if_due()
        return bool(heard)

    def end(self) -> None:
        """After its last words."""
        os.close(self.hear)
        os.waitpid(self.process, 0)

    def _kill_if_due(self) -> None:
        if self._heard.count(b"\n") >= self._last_words:
            self._last_words = sys.maxsize
            time.sleep(random.uniform(0, LONGEST_PAUSE))
            os.kill(self.process, signal.SIGKILL)


def pipeline(url: str, told: int) -> None:
    """Run a few steps; say of a step that it is stored once that was confirmed, every other time for two at once."""

    def say(*words: str) -> None:
        os.write(told, "".join(f"{word}\n" for word in words).encode())

    setup = otel_runs.configure(url)
    tracer = trace.get_tracer("pipeline")
    with tracer.start_as_current_span("run") as run:
        say(f"run {format_trace_id(run.get_span_context().trace_id)}")
        finished = []
        for number in range(STEPS):
            with tracer.start_as_current_span(f"step {number}") as step:
                pass
            finished.append(format_span_id(step.get_span_context().span_id))
            if number % 3 and setup.flush() and otel_runs.stats().spans_stored >= number + 1:
                say(*(f"step {span_id}" for span_id in finished))
                finished = []
        say("ending")
    setup.shutdown()
    if otel_runs.stats().spans_stored == STEPS + 1:
        say("ended")


def main(url: str, kills: int) -> None:
    """Kill so many pipelines, and print what each had said."""
    killed: list[Pipeline] = []
    with selectors.DefaultSelector() as running:
        while len(killed) < kills or running.get_map():
            while len(killed) < kills and len(running.get_map()) < AT_ONCE:
                killed.append(Pipeline(url))
                running.register(killed[-1].hear, selectors.EVENT_READ, killed[-1])
            for key, _ in running.select():
                if not key.data.listen():
                    running.unregister(key.fileobj)
                    key.data.end()
    json.dump([each.said for each in killed], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
