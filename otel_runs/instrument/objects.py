"""Recording objects that can be called and are no functions: what ``functools.cache`` and ``partial`` make."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType
from typing import Any, Self

from wrapt import ObjectProxy

from otel_runs.instrument.paths import DECLARED


class Recorded(ObjectProxy):  # type: ignore[type-arg]  # of any object
    """The object itself, with all it has (``cache_clear``, attributes), whose calls are recorded.

    Args:
        function: the object.
        recording: makes of an object what records a call of it.
        declared: its declaration.
    """

    def __init__(
        self, function: Callable[..., Any], recording: Callable[[Any], Callable[..., Any]], declared: object
    ) -> None:
        super().__init__(function)
        # Attributes of this name are the proxy's own, by wrapt's rule.
        self._self_call = recording(function)
        self._self_recording = recording
        self._self_declared = declared

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, recorded."""
        return self._self_call(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        # In a class: a method, if the object would be one.
        is_method = instance is not None and hasattr(type(self.__wrapped__), "__get__")
        return MethodType(self, instance) if is_method else self

    def __copy__(self) -> Self:
        """A copy of the object, recorded as well."""
        return self._around(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """As ``__copy__``."""
        return self._around(copy.deepcopy(self.__wrapped__, memo))

    def _around(self, copied: Callable[..., Any]) -> Self:
        # What ``functools.cache`` makes is its own copy, as functions are.
        is_same = copied is self.__wrapped__
        return self if is_same else type(self)(copied, self._self_recording, self._self_declared)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As the object itself is pickled: by its name, as a function of a module is, else without what records it."""
        return self.__wrapped__.__reduce_ex__(protocol)


setattr(Recorded, DECLARED, property(lambda self: self._self_declared))
