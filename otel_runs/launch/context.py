"""The context of a process that belongs to a run: where nothing else is current, the run is."""

from __future__ import annotations

from contextvars import ContextVar, Token

from opentelemetry.context.context import Context, _RuntimeContext

_CURRENT = "current_context"


class ProcessContext(_RuntimeContext):
    """OpenTelemetry's context over ``contextvars``, with a context of its own as the default instead of an empty one.

    A thread starts with the default, so spans of every thread of the process find the run, though nobody handed the
    context over. Chosen by its entry point's name in ``OTEL_PYTHON_CONTEXT``, which is OpenTelemetry's way.
    """

    def __init__(self) -> None:
        self._current = ContextVar(_CURRENT, default=Context())  # noqa: B039  a Context cannot be changed

    def set_default(self, context: Context) -> None:
        """Make a context the default of all threads; to be called before anything is attached."""
        self._current = ContextVar(_CURRENT, default=context)

    def attach(self, context: Context) -> Token[Context]:
        """Set the current context; the token resets it."""
        return self._current.set(context)

    def get_current(self) -> Context:
        """The current context, or the process's default."""
        return self._current.get()

    def detach(self, token: Token[Context]) -> None:
        """Reset to what was current before."""
        self._current.reset(token)
