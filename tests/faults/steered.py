"""A pipeline that a test steers while it breaks something under it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Final, Self

from tests.programs import Programs, otel_runs_command

STEPS: Final = 50
"""That a pipeline does at a time."""
SECONDS: Final = 60
"""That one answer of the pipeline may take, at most."""

# "work": some steps. "flush": wait until all is stored; anything else is an error. "fail": wait until an attempt to
# store something has failed. "hang": see that nothing is stored within a second.
_PIPELINE: Final = f"""
import sys, time
import otel_runs
from opentelemetry import trace

setup = otel_runs.configure(sys.argv[1])
tracer = trace.get_tracer("pipeline")
number, longest = 0, 0.0
with tracer.start_as_current_span("run"):
    for order in map(str.strip, sys.stdin):
        if order == "work":
            for _ in range({STEPS}):
                step = tracer.start_span(f"step {{number}}")
                began = time.perf_counter()
                step.end()
                longest = max(longest, time.perf_counter() - began)
                number += 1
        elif order == "flush":
            assert setup.flush() and otel_runs.stats().spans_stored == number, otel_runs.stats()
        elif order == "fail":
            deadline = time.monotonic() + {SECONDS}
            while not otel_runs.stats().export_errors:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        elif order == "hang":
            assert not setup.flush(1.0)
        print(number, flush=True)
setup.shutdown()
stats = otel_runs.stats()
print(f"longest end of a span: {{longest * 1000:.1f}} ms; {{stats}}", flush=True)
"""


class Steered:
    """A pipeline as a process of its own, which does what it is told; a context manager that ends it."""

    def __init__(self, programs: Programs, url: str, environ: Mapping[str, str] | None = None) -> None:
        path = programs.write(_PIPELINE, "steered.py")
        self.process = programs.start([sys.executable, str(path), url], environ=environ)
        self.steps = 0
        self._programs, self._url, self._environ = programs, url, environ
        self._errors: list[str] = []
        # Read all the time, so that the pipeline never waits for a full pipe.
        self._reader = threading.Thread(target=self._read_errors)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    @property
    def names(self) -> dict[str, int]:
        """What must be in the tables in the end: how many rows of each name."""
        return {"run": 1} | {f"step {number}": 1 for number in range(self.steps)}

    def work(self) -> None:
        """Do some steps."""
        self.steps += STEPS
        assert self._do("work") == f"{self.steps}\n", self.errors()

    def flush(self) -> None:
        """Wait until all steps that have ended are stored."""
        assert self._do("flush") == f"{self.steps}\n", self.errors()

    def await_failure(self) -> None:
        """Wait until the first attempt to store something has failed."""
        assert self._do("fail") == f"{self.steps}\n", self.errors()

    def await_hanging(self) -> None:
        """See that the database hangs: nothing is stored within a second."""
        assert self._do("hang") == f"{self.steps}\n", self.errors()

    def end(self) -> str:
        """Let the run and the process end, and return what it says in the end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        last = self.process.stdout.read()
        assert self.process.wait(SECONDS) == 0, self.errors()
        return last

    def replay(self) -> None:
        """Store what the pipeline could not: its own end waits for that two seconds only."""
        done = self._programs.run(otel_runs_command("replay", "--db", self._url), environ=self._environ)
        assert done.returncode == 0, done.stderr

    def errors(self) -> str:
        """What the pipeline has written to its standard error."""
        return "".join(self._errors)

    def _do(self, order: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(self.process.stderr)
