"""What outlives runs: models, what they depend on, and environments.

The latest declaration stands as a whole (by start of the span, then by its id): tags that the code no longer names are
gone. Of one span, what was told at its end counts, not what was told at its start. A span that names nothing but the
model's path and kind is no declaration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from otel_runs.mapping.facts import Facts, model_from_path
from otel_runs.records import Model, Run
from otel_runs.store.writer import StoredEnvironment, StoredModel, Writer


class Mentions:
    """All that a batch says of one model."""

    __slots__ = ("declared", "model", "stamp", "state")

    def __init__(self, model: Model, started_at: int) -> None:
        self.model = model
        self.state = StoredModel(model.kind, started_at, started_at, "")
        """As a model that nobody declares: the kind that comes first in the alphabet, the earliest start."""
        self.declared: Model | None = None
        self.stamp = (0, "")
        """Of the latest declaration: the span's start; its row id, whether it has ended, and a mark of what it says."""

    def add(self, kind: str, started_at: int) -> None:
        """One more span uses the model, or depends on it."""
        state = self.state
        if kind < state.kind or started_at < state.created_at:
            created = min(started_at, state.created_at)
            self.state = StoredModel(min(kind, state.kind), created, created, "")

    def declare(self, model: Model, started_at: int, row_id: str, *, has_ended: bool) -> None:
        """A span declares the model."""
        # Of a span that comes twice, taken out of it on one way what it says on the other, one must be the later.
        mark = crc32(repr(model).encode("utf-8", "surrogatepass"))
        stamp = (started_at, f"{row_id} {has_ended:d} {mark:08x}")
        if stamp > self.stamp:
            self.stamp, self.declared = stamp, model

    def settled(self, known: StoredModel) -> tuple[StoredModel, Model | None]:
        """What the model's row shall say, and the declaration that it takes over, if it does.

        Args:
            known: what decides about the row as it is.
        """
        created = min(known.created_at, self.state.created_at)
        if self.declared is not None and (not known.declared_by or self.stamp > (known.updated_at, known.declared_by)):
            return StoredModel(self.declared.kind, created, *self.stamp), self.declared
        if known.declared_by:
            return known._replace(created_at=created), None
        return StoredModel(min(known.kind, self.state.kind), created, created, ""), None


def mentions_of(facts: Iterable[Facts]) -> dict[str, Mentions]:
    """What a batch says of models, by model id."""
    found: dict[str, Mentions] = {}

    def mention(model: Model, started_at: int) -> Mentions:
        known = found.get(model.id)
        if known is None:
            known = found[model.id] = Mentions(model, started_at)
        else:
            known.add(model.kind, started_at)
        return known

    for each in facts:
        model = each.model
        if model is not None:
            mentions = mention(model, each.started_at)
            if each.declares:
                has_ended = each.model_run is not None and each.model_run.completed_at is not None
                mentions.declare(model, each.started_at, each.node_id, has_ended=has_ended)
                for path in model.depends_on or ():
                    mention(model_from_path(path), each.started_at)
    return found


def insert_models(writer: Writer, mentions: Mapping[str, Mentions]) -> None:
    """Make sure that every model that the batch mentions exists: rows refer to it."""
    missing = sorted(mentions.keys() - writer.find_models(sorted(mentions)).keys())
    writer.insert_models([(_undeclared(mentions[id_].model), mentions[id_].state) for id_ in missing])


def declare_models(writer: Writer, mentions: Mapping[str, Mentions]) -> None:
    """Let the batch's declarations stand where they are the latest.

    Last in the transaction, and only those that change are locked: all runs of a pipeline share its models.
    """
    changing = _changes(mentions, writer.find_models(sorted(mentions)))
    if not changing:
        return
    changes = _changes(mentions, writer.find_models(sorted(changing), lock=True))
    declared = {id_: (model, state) for id_, (state, model) in changes.items() if model is not None}
    writer.save_models(list(declared.values()))
    writer.touch_models({id_: state for id_, (state, model) in changes.items() if model is None})
    writer.replace_dependencies(
        {id_: [model_from_path(path).id for path in model.depends_on or ()] for id_, (model, _) in declared.items()}
    )


def _changes(
    mentions: Mapping[str, Mentions], stored: Mapping[str, StoredModel]
) -> dict[str, tuple[StoredModel, Model | None]]:
    settled = {id_: mentions[id_].settled(known) for id_, known in stored.items()}
    return {id_: change for id_, change in settled.items() if change[0] != stored[id_]}


def _undeclared(model: Model) -> Model:
    return Model(model.id, model.path, model.name, model.kind)


def save_environments(writer: Writer, facts: Iterable[Facts]) -> None:
    """Write the environments that the batch's runs are in; each has the commit of its latest run that tells one.

    Only those that change are locked, as in ``declare_models``: nearly all runs share one.
    """
    runs_in: dict[str, list[Run]] = {}
    for each in facts:
        if each.run is not None:
            runs_in.setdefault(each.run.environment, []).append(each.run)
    if not runs_in:
        return
    changing = _environment_changes(runs_in, _known_environments(writer, runs_in))
    if not changing:
        return
    changes = _environment_changes(runs_in, writer.find_environments(sorted(changing), lock=True))
    writer.save_environments({name: (ref, state) for name, (state, ref) in changes.items() if ref is not None})
    writer.touch_environments({name: state for name, (state, ref) in changes.items() if ref is None})


def _known_environments(writer: Writer, runs_in: Mapping[str, Sequence[Run]]) -> dict[str, StoredEnvironment]:
    """The environments, made where they are missing: only what exists can be locked."""
    stored = writer.find_environments(sorted(runs_in))
    missing = sorted(runs_in.keys() - stored.keys())
    if missing:
        writer.insert_environments({name: min(run.started_at for run in runs_in[name]) for name in missing})
        stored |= writer.find_environments(missing)  # another writer may have been faster
    return stored


def _environment_changes(
    runs_in: Mapping[str, Sequence[Run]], stored: Mapping[str, StoredEnvironment]
) -> dict[str, tuple[StoredEnvironment, str | None]]:
    settled = {name: _settled_environment(runs_in[name], known) for name, known in stored.items()}
    return {name: change for name, change in settled.items() if change[0] != stored[name]}


def _settled_environment(runs: Sequence[Run], known: StoredEnvironment) -> tuple[StoredEnvironment, str | None]:
    """What an environment's row shall say, and the commit that it takes over, if it does."""
    created = min(known.created_at, *(run.started_at for run in runs))
    latest = max([run for run in runs if run.code_ref is not None], key=_stamp, default=None)
    if latest is not None and (not known.declared_by or _stamp(latest) > (known.updated_at, known.declared_by)):
        return StoredEnvironment(created, *_stamp(latest)), latest.code_ref
    if known.declared_by:
        return known._replace(created_at=created), None
    return StoredEnvironment(created, created, ""), None


def _stamp(run: Run) -> tuple[int, str]:
    return run.started_at, f"{run.trace_id}{run.root_span_id}"
