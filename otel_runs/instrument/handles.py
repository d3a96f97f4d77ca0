"""Handles: one run or step while it is open. What ``with step("load") as s`` gives, and what decorators hold."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Final, NoReturn, SupportsFloat, SupportsIndex

from opentelemetry.context import Context, attach
from opentelemetry.trace import INVALID_SPAN, get_current_span

from otel_runs.attributes import PARENT_RUN, PARENT_STEP, STEPS_EXPECTED
from otel_runs.errors import InstrumentError
from otel_runs.ids import row_id_from_span
from otel_runs.instrument.active import HANDLE_KEY, SPAN_KEY, current_handle, find_tracer, restore
from otel_runs.instrument.endings import Skip, mark, mark_exception, skipped
from otel_runs.instrument.limits import say_again, set_many
from otel_runs.instrument.measure import Value, measured
from otel_runs.instrument.place import stamps_below
from otel_runs.instrument.problems import problem

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_runs.instrument.endings import Ending

_NOTHING: Final = Context()
_NOTHING_SAID: Final[Mapping[str, Value]] = {}

_process: object = object()
"""This process. A forked child has copies of what its parent has open, and ends none of it."""


def _be_another_process() -> None:
    global _process  # noqa: PLW0603  told once, before the child does anything else
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_be_another_process)


class Handle(ABC):
    """One run or step while it is open. Made by ``run``, ``step`` and ``model``, not by hand."""

    __slots__ = ("_context", "_outer_run", "_process", "_said", "_skipped", "_stamps", "_token", "name", "span")

    def __init__(
        self,
        name: str,
        span: Span,
        before: Context,
        outer: Handle | None,
        said: Mapping[str, Value] = _NOTHING_SAID,
    ) -> None:
        self.name = name
        self.span = span
        """The OpenTelemetry span behind it, for whatever else is to be said on it."""
        self._outer_run = None if outer is None else outer.run
        self._context = Context({**before, SPAN_KEY: span, HANDLE_KEY: self})
        self._token: object = None
        self._stamps: Mapping[str, str] | None = None
        self._skipped: str | None = None
        self._said = said
        self._process = _process

    # Not attributes: a handle that refers to itself would wait for the garbage collector.

    @property
    def run(self) -> RunHandle | None:
        """The run it is in, or is; None where that was started elsewhere."""
        return self._outer_run

    @property
    def step(self) -> StepHandle | None:
        """The innermost step within the run, if it is one."""
        return None

    @property
    def stamps(self) -> Mapping[str, str]:
        """The attributes that a span right below it carries from its start."""
        if self._stamps is None:
            self._stamps = stamps_below(self.span)
        return self._stamps

    def record(
        self,
        *,
        rows_in: SupportsIndex | None = None,
        rows_out: SupportsIndex | None = None,
        rows_affected: SupportsIndex | None = None,
        input_tokens: SupportsIndex | None = None,
        output_tokens: SupportsIndex | None = None,
        cost_usd: SupportsFloat | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Say what was done. None says nothing, 0 says zero.

        A value that is recorded again replaces the earlier one, as attributes of spans do: saying the same thing twice,
        in a loop or in a second try, must not double it. Add up what comes in batches and record the sum.

        Args:
            rows_in: rows read. An integer of 0 or more, like the other counts.
            rows_out: rows handed on.
            rows_affected: rows changed in a table.
            input_tokens: tokens sent to a language model.
            output_tokens: tokens that came back.
            cost_usd: what it cost, in US dollars.
            metadata: anything else, by keys of your own; kept in the ``metadata`` column. Values that an attribute
                cannot hold are kept as JSON text.

        Raises:
            InstrumentError: only with ``OTEL_RUNS_STRICT=true``: a value is no good. Otherwise it is left out, logged
                once and counted.
        """
        if self.span.is_recording():
            values = {
                "rows_in": rows_in,
                "rows_out": rows_out,
                "rows_affected": rows_affected,
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "cost_usd": cost_usd,
            }
            _record(self.span, self.name, values, metadata)

    def skip(self, reason: str) -> None:
        """Mark this run or step as skipped, and go on: the code after it still runs.

        To leave a step at once, call ``otel_runs.skip``. An exception that ends the step later wins over the mark.

        Args:
            reason: why there was nothing to do; kept as ``stop_reason``.
        """
        self._skipped = reason

    def enter(self) -> None:
        """Make it current. A generator enters each time its frame runs."""
        self._token = attach(self._context)

    def leave(self) -> None:
        """Make current again what was so before."""
        restore(self._token, self._context)

    def end(self, exc: BaseException | None = None, ending: Ending | None = None) -> bool:
        """End the span.

        Args:
            exc: what ended it, None if nothing was raised.
            ending: how it ended, where no exception says so.

        Returns:
            Whether ``exc`` ends here: it is a skip, which the innermost step takes.

        In a forked child nothing is ended that its parent opened: a child may leave through its parent's blocks.
        """
        if self._process is not _process:
            self._context = _NOTHING
            return isinstance(exc, Skip)
        try:
            if exc is not None:
                mark_exception(self.span, exc)
            elif ending is not None:
                mark(self.span, ending)
            elif self._skipped is not None:
                mark(self.span, skipped(self._skipped))
            self._count()
            if getattr(self.span, "dropped_attributes", 0) and self.span.is_recording():
                say_again(self.span, self._said)
        except Exception as failure:  # noqa: BLE001  telemetry never breaks the pipeline
            problem(f"{self.name}: end", f"{self.name}: its ending could not be recorded: {failure!r}.", failure)
        finally:
            self._end_span()
        return isinstance(exc, Skip)

    def finish(self, exc: BaseException | None = None) -> bool:
        """Leave and end, in one."""
        self.leave()
        return self.end(exc)

    def _end_span(self) -> None:
        # The context holds the handle: without this every step would wait for the garbage collector.
        self._context = _NOTHING
        try:
            self.span.end()
        except Exception as failure:  # noqa: BLE001  as above; a processor of somebody else's
            problem("end", f"{self.name}: its span could not be ended: {failure!r}.", failure)

    @abstractmethod
    def _count(self) -> None:
        """Keep the account of the run."""


class RunHandle(Handle):
    """One run while it is open."""

    __slots__ = ("_steps",)

    def __init__(
        self,
        name: str,
        span: Span,
        before: Context,
        outer: Handle | None,
        said: Mapping[str, Value] = _NOTHING_SAID,
    ) -> None:
        super().__init__(name, span, before, outer, said)
        self._steps = count()

    @property
    def run(self) -> RunHandle:
        """The run itself."""
        return self

    @property
    def id(self) -> str | None:
        """The id of its row in ``runs``; None while nothing is recorded."""
        return self.stamps.get(PARENT_RUN)

    def count_step(self) -> None:
        """A step of this run has ended in this process."""
        # One operation, which the interpreter does not interrupt; a lock around an addition takes 0.1 us a step.
        next(self._steps)

    def _count(self) -> None:
        # A lower bound for the rows that must arrive: steps of ours, ended here, before the run did. A run with a key
        # (its descendants are below a step that is its part here) has several processes, of which none knows the whole.
        # Where ``configure()`` is in force, plain spans are counted, too: ``export/open_spans.py``.
        counted = (getattr(self.span, "attributes", None) or {}).get(STEPS_EXPECTED, 0)
        steps = next(self._steps)  # how often it has been called before
        if steps > counted and PARENT_STEP not in self.stamps and self.span.is_recording():
            self.span.set_attribute(STEPS_EXPECTED, steps)


class StepHandle(Handle):
    """One step or model while it is open."""

    __slots__ = ()

    @property
    def step(self) -> StepHandle:
        """The step itself."""
        return self

    @property
    def id(self) -> str | None:
        """The id of its row in ``model_runs``; None while nothing is recorded."""
        span_context = self.span.get_span_context()
        if not span_context.is_valid:
            return None
        return row_id_from_span(f"{span_context.trace_id:032x}", f"{span_context.span_id:016x}")

    def _count(self) -> None:
        # What a sampler dropped leaves no row.
        run = self._outer_run
        if run is not None and self.span.is_recording():
            run.count_step()


class _Idle:
    """What there is while nobody listens: takes everything, does nothing, costs next to nothing."""

    __slots__ = ()

    def skip(self, reason: str) -> None:
        pass

    def enter(self) -> None:
        pass

    def leave(self) -> None:
        pass

    def end(self, exc: BaseException | None = None, ending: Ending | None = None) -> bool:  # noqa: ARG002  as Handle
        return isinstance(exc, Skip)

    def finish(self, exc: BaseException | None = None) -> bool:
        return isinstance(exc, Skip)


class _IdleRun(_Idle, RunHandle):
    __slots__ = ()


class _IdleStep(_Idle, StepHandle):
    __slots__ = ()


IDLE_RUN: Final = _IdleRun("", INVALID_SPAN, _NOTHING, None)
IDLE_STEP: Final = _IdleStep("", INVALID_SPAN, _NOTHING, None)


def record(
    *,
    rows_in: SupportsIndex | None = None,
    rows_out: SupportsIndex | None = None,
    rows_affected: SupportsIndex | None = None,
    input_tokens: SupportsIndex | None = None,
    output_tokens: SupportsIndex | None = None,
    cost_usd: SupportsFloat | None = None,
    metadata: Mapping[str, object] | None = None,
) -> None:
    """Say what the current step did (or the current run, outside of steps). See ``Handle.record``.

    Where there is neither, it is said on the current span: a plain span is a step, too. Where there is no span at all,
    it is logged once and counted. While no tracer provider is set, nothing happens.

    Raises:
        InstrumentError: only with ``OTEL_RUNS_STRICT=true``.
    """
    handle = current_handle()
    span = get_current_span() if handle is None else handle.span
    if span.is_recording():
        values = {
            "rows_in": rows_in,
            "rows_out": rows_out,
            "rows_affected": rows_affected,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": cost_usd,
        }
        _record(span, "record" if handle is None else handle.name, values, metadata)
    elif span is INVALID_SPAN and find_tracer() is not None:
        problem("record", "record() was called outside of any run, step or span; there is nothing to record it on.")


def skip(reason: str) -> NoReturn:
    """Leave the innermost step: there is nothing to do.

    The step is ``skipped``, with the reason as its ``stop_reason``. A decorated function returns None then; a ``with``
    block ends, and the code below it goes on. To mark a step and stay in it, call ``skip`` on its handle.

    Outside of any step it leaves the innermost run; outside of any run it is an uncaught exception.
    """
    raise Skip(reason)


def _record(span: Span, where: str, values: Mapping[str, object], metadata: Mapping[str, object] | None) -> None:
    try:
        found = measured(where, values, metadata)
        if metadata:
            set_many(span, found)
        else:
            span.set_attributes(found)
    except InstrumentError:
        raise
    except Exception as failure:  # noqa: BLE001  telemetry never breaks the pipeline
        problem(f"{where}: record", f"{where}: what it did could not be recorded: {failure!r}.", failure)
