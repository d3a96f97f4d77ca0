"""Rules for the program itself: ``python pipeline.py`` and ``python -m shop.pipeline``.

A program is no import: hooks that wait for one never see it, and its last line calls ``main()`` before anybody could
wrap what it defined. Three ways were weighed:

- Watching every call (``sys.setprofile``, ``sys.monitoring``) slows the whole program down, and cannot wrap anything.
- Running the script by a runner of our own (``python -m runner pipeline.py``) works only where the runner is in the
  command, not for a shell script or a Makefile that calls python; and it shows in ``sys.argv`` and in tracebacks.
- Adding the decorators while the program is loaded. This one: functions are wrapped when they are defined, whoever
  calls or imports them.

Python offers the place for it. Before it runs a file it asks ``sys.path_hooks`` for an importer (that is how it runs a
zip file), and before it runs a module it asks ``sys.meta_path`` for a loader. Ours parses the source, puts a decorator
on each function that a rule names, innermost, and hands over the code. Lines keep their numbers.

In a process spawned by ``multiprocessing`` the script is loaded again through the same place.
"""

from __future__ import annotations

import ast
import atexit
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_runs.instrument import hook
from otel_runs.instrument.problems import problem

if TYPE_CHECKING:
    from types import CodeType, ModuleType

    from otel_runs.instrument.rules import Rule

_Found = Callable[["Rule", Sequence[str]], object]

_logger: Final = logging.getLogger("otel_runs")
_MAIN: Final = "__main__"
_DECORATOR: Final = "__import__('otel_runs.instrument.hook', fromlist=['by_rule']).by_rule({kind!r})"


def install(rules: Sequence[Rule], *, tell: bool = True) -> None:
    """Apply rules in this process: to its program, if they name it, and to what it imports.

    To be called before the program is loaded, from ``sitecustomize`` for instance.

    Args:
        rules: a rule for the program names its module: ``__main__``, the script's name without ``.py``, or what follows
            ``python -m``.
        tell: log at exit which modules were never imported. False in the processes that a program starts: they are
            not expected to import them all.
    """
    module = _module_argument()
    names = {_MAIN, Path(sys.argv[0]).stem} if module is None else {_MAIN, module, f"{module}.{_MAIN}"}
    program = _Program([rule for rule in rules if rule.module in names])
    if module is not None:
        sys.meta_path.insert(0, _ModuleFinder(module, program))
    # Last: folders and zip files have their importers already; what is left are scripts.
    sys.path_hooks.append(_ScriptHook(rules, program.found))
    for rule in rules:
        if rule not in program.rules:
            hook.install(rule, tell=tell)
        elif module is None and rule.module != _MAIN:
            # A module may be called like the program: the command that a package installs, or one that imports itself.
            hook.install(rule, tell=False, found=program.found)
    if tell:
        atexit.register(program.tell)


def _module_argument() -> str | None:
    """The module that ``python -m`` is to run. While Python starts, ``sys.argv`` holds ``-m`` in its place."""
    if not sys.argv or sys.argv[0] != "-m":
        return None
    argument = sys.orig_argv[-len(sys.argv)]
    # Options may be run together with it: -m shop, -mshop, -um shop.
    return argument.partition("m")[2] if argument.startswith("-") else argument


class _Program:
    """The rules for the program itself, and the functions that it turns out to have.

    Args:
        rules: that name it.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._names: dict[Rule, list[str]] = {}

    def found(self, rule: Rule, names: Sequence[str]) -> None:
        """A file or module that a rule names was loaded, with these functions."""
        self._names.setdefault(rule, []).extend(names)

    def tell(self) -> None:
        """Log which patterns have fitted nothing."""
        for rule in self.rules:
            names = self._names.get(rule)
            if names is None:
                _logger.warning(
                    "Module %s was never loaded from a file of its own, so nothing of it was recorded. What Python "
                    "reads from its input, -c, a folder or a zip file cannot be.",
                    rule.module,
                )
                continue
            for _, message in hook.unmatched(rule, names):
                _logger.warning("%s", message)


class _Loader(SourceFileLoader):
    """Loads a source file with the decorators that rules ask for. Neither reads nor writes compiled files."""

    def __init__(self, fullname: str, path: str, rules: Sequence[Rule], found: _Found) -> None:
        super().__init__(fullname, path)
        self._rules = rules
        self._found = found

    def get_code(self, fullname: str) -> CodeType:
        """The code of the file, decorated."""
        source = self.get_data(self.path)
        for rule in self._rules:
            self._found(rule, ())
        if fullname == _MAIN:
            _forget_the_archive(self.path)
        try:
            return self._decorated(source, fullname)
        except RecursionError as exc:
            # A tree goes deeper than what Python's own compiler makes of the same text.
            about = f"The functions of {self.path} cannot be recorded: its code is nested too deeply"
            problem(self.path, f"{about} ({exc}).")
            return compile(source, self.path, "exec", dont_inherit=True)

    def _decorated(self, source: bytes, fullname: str) -> CodeType:
        tree = ast.parse(source, self.path)
        for rule in self._rules:
            self._found(rule, _decorate(tree, rule))
        if fullname == _MAIN:
            _pose_as_script(tree)
        return compile(tree, self.path, "exec", dont_inherit=True)


class _ScriptHook:
    """For ``sys.path_hooks``: takes a file that a rule names as the program."""

    def __init__(self, rules: Sequence[Rule], found: _Found) -> None:
        self._rules = rules
        self._found = found

    def __call__(self, path: str) -> _ScriptFinder:
        names = {_MAIN, Path(path).stem}
        rules = [rule for rule in self._rules if rule.module in names]
        if not rules or not Path(path).is_file():
            msg = f"{path} is no script that a rule names"
            raise ImportError(msg, path=path)
        return _ScriptFinder(path, rules, self._found)


class _ScriptFinder:
    """Finds ``__main__`` in a script."""

    def __init__(self, path: str, rules: Sequence[Rule], found: _Found) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100  as Python makes __file__, links kept
        self._rules = rules
        self._found = found

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        del target
        if fullname != _MAIN:
            return None
        return spec_from_file_location(_MAIN, self._path, loader=_Loader(_MAIN, self._path, self._rules, self._found))


class _ModuleFinder:
    """For ``sys.meta_path``: finds the module that ``python -m`` runs, or ``__main__`` in the package that it names."""

    def __init__(self, module: str, program: _Program) -> None:
        self._names = (module, f"{module}.{_MAIN}")
        self._program = program

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names or not self._program.rules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.submodule_search_locations is not None:
            return None
        spec.loader = _Loader(fullname, spec.loader.path, self._program.rules, self._program.found)
        return spec


def _decorate(tree: ast.Module, rule: Rule) -> list[str]:
    """Put a decorator on each function that a rule names: innermost, where it always gets the plain function.

    Returns:
        The names of all functions.
    """
    places = list(_functions(tree))
    for name, node in places:
        kind = rule.kind_of(name)
        if kind is not None:
            decorator = ast.parse(_DECORATOR.format(kind=kind), mode="eval").body
            for part in ast.walk(decorator):
                ast.copy_location(part, node)
            node.decorator_list.append(decorator)
    return [name for name, _ in places]


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions of a module and the methods of its classes, also those defined under a condition."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            if not prefix:
                yield from _functions(node, f"{node.name}.")
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _functions(node, prefix)


def _forget_the_archive(path: str) -> None:
    """Replace the script on ``sys.path`` by its folder: Python took it for an archive."""
    folder = str(Path(path).resolve().parent)
    if sys.path and os.path.abspath(sys.path[0]) == path:  # noqa: PTH100  as above
        sys.path[:1] = [] if sys.flags.safe_path else [folder]


def _pose_as_script(tree: ast.Module) -> None:
    """Undo that Python has given the module a spec: ``multiprocessing`` would look for a module of that name."""
    position = sum(1 for _ in takewhile(_must_come_first, tree.body))
    forget = ast.parse("__package__ = __spec__ = None").body[0]
    tree.body.insert(position, forget)


def _must_come_first(node: ast.stmt) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return is_text or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
