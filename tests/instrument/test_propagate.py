"""Context goes into threads, pools and subprocesses."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.threading import ThreadingInstrumentor

from otel_runs import carry, child_environment, current_step, run, step
from otel_runs.errors import InstrumentError

_PROGRAM = textwrap.dedent("""
    import sys
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
    import otel_runs

    def line(span):
        parent = f"{span.parent.span_id:016x}" if span.parent else None
        return f"{span.name} {span.context.trace_id:032x} {parent}\\n"

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
    trace.set_tracer_provider(provider)

    with getattr(otel_runs, sys.argv[1])("first"):
        pass
    with otel_runs.step("second"):
        pass
""")


def _ids(span: Any) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent_in_this_process(value: int) -> tuple[int, str, int, int]:
    """What a worker sees as current: run in a pool's process, so at the top of a module."""
    span_context = trace.get_current_span().get_span_context()
    return value * 2, f"{span_context.trace_id:032x}", span_context.span_id, os.getpid()


def test_carried_function_runs_below_the_step_in_a_thread(spans: Any) -> None:
    @step
    def load(name: str) -> str:
        return name

    with run("nightly"), step("outer"), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(carry(load), ["a", "b"])) == ["a", "b"]
        assert pool.submit(load, "c").result() == "c"
    outer = spans.one("outer").context.span_id
    parents = [span.parent.span_id if span.parent else None for span in spans.all("load")]
    assert parents == [outer, outer, None]


def test_thread_has_its_own_context_back_after_a_carried_call(spans: Any) -> None:
    with step("outer"):
        carried = carry(current_step)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.extend([carried(), current_step()]))
    thread.start()
    thread.join()
    assert seen[0] is not None
    assert seen[1] is None


@pytest.mark.parametrize(
    "method", [name for name in ("fork", "spawn") if name in multiprocessing.get_all_start_methods()]
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_carried_function_finds_the_step_in_a_pools_process(spans: Any, method: str) -> None:
    with step("outer"), ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        value, trace_id, span_id, pid = pool.submit(carry(parent_in_this_process), 21).result(timeout=60)
    outer = spans.one("outer")
    assert value == 42
    assert pid != os.getpid()
    assert (trace_id, f"{span_id:016x}") == _ids(outer)


def test_carried_function_works_without_a_provider(no_provider: None) -> None:
    import pickle

    assert pickle.loads(pickle.dumps(carry(parent_in_this_process)))(2)[0] == 4


def test_coroutine_function_is_refused() -> None:
    async def load() -> None: ...

    with pytest.raises(InstrumentError, match="a coroutine function; expected a plain function"):
        carry(load)
    with pytest.raises(InstrumentError, match="a coroutine function; expected a plain function"):
        carry(functools.partial(load))


def test_generator_functions_are_refused() -> None:
    def items() -> Iterator[int]:
        yield 1

    async def pages() -> AsyncIterator[int]:
        yield 1

    for function in (items, pages):
        with pytest.raises(InstrumentError, match="a generator function, whose code runs where it is consumed"):
            carry(function)


def test_threading_instrumentation_carries_steps_too(spans: Any) -> None:
    instrumentor = ThreadingInstrumentor()
    instrumentor.instrument()
    try:
        with step("outer"), ThreadPoolExecutor(1) as pool:
            pool.submit(step("inner")(lambda: None)).result()
    finally:
        instrumentor.uninstrument()
    assert spans.parent("inner") == "outer"


@pytest.mark.parametrize("declared", ["run", "step"])
def test_subprocess_lands_below_the_step_that_starts_it(spans: Any, declared: str) -> None:
    with run("nightly"), step("outer"):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, declared],
            env=child_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    trace_id, span_id = _ids(spans.one("outer"))
    assert done.stdout == f"first {trace_id} {span_id}\nsecond {trace_id} {span_id}\n"


def test_process_takes_state_and_baggage_from_its_environment_and_hands_them_on() -> None:
    given = {"TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-01", "TRACESTATE": "vendor=7", "BAGGAGE": "customer=acme"}
    program = """
        import json
        from opentelemetry import baggage, trace
        from opentelemetry.sdk.trace import TracerProvider
        import otel_runs

        trace.set_tracer_provider(TracerProvider())
        with otel_runs.step("load") as load:
            told = [load.span.context.trace_state.to_header(), baggage.get_baggage("customer")]
            print(json.dumps([*told, otel_runs.child_environment({})]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    state, customer, handed_on = json.loads(done.stdout)
    assert (state, customer) == ("vendor=7", "acme")
    assert handed_on.pop("TRACEPARENT").startswith(f"00-{'a' * 32}-")
    assert handed_on == {"TRACESTATE": "vendor=7", "BAGGAGE": "customer=acme"}


def test_malformed_traceparent_starts_a_trace_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "run"],
        env={**os.environ, "TRACEPARENT": "00-nonsense-01"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["None", "None"]


def test_child_environment_is_the_whole_environment_with_the_context_replaced(spans: Any) -> None:
    base = {"PATH": "/bin", "TRACEPARENT": "stale", "TRACESTATE": "stale=1"}
    token = context.attach(baggage.set_baggage("customer", "acme"))
    try:
        with step("outer"):
            environment = child_environment(base)
    finally:
        context.detach(token)
    trace_id, span_id = _ids(spans.one("outer"))
    assert environment.pop("TRACEPARENT").startswith(f"00-{trace_id}-{span_id}-")
    assert environment == {"PATH": "/bin", "BAGGAGE": "customer=acme"}
    assert base["TRACEPARENT"] == "stale"


def test_child_environment_without_a_step_hands_on_what_there_is(no_provider: None) -> None:
    assert child_environment({"TRACEPARENT": "given"}) == {"TRACEPARENT": "given"}
