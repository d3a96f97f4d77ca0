"""What outlives runs: models, what they depend on, and environments.

The latest declaration stands as a whole (by start of the span, then by its id): tags that the code no longer names are
gone. A span that names nothing but the model's path and kind is no declaration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from otel_runs.mapping.facts import Facts, model_from_path
from otel_runs.records import Model, Run
from otel_runs.store.writer import StoredEnvironment, StoredModel, Writer


class _Mention(NamedTuple):
    model: Model
    started_at: int
    declared_by: str
    """The row that declares the model; "" if it only uses it."""


def insert_models(writer: Writer, facts: Iterable[Facts]) -> None:
    """Make sure that every model that the batch mentions exists: rows refer to it."""
    mentions = _by_model(facts)
    missing = sorted(mentions.keys() - writer.find_models(sorted(mentions)).keys())
    new = []
    for model_id in missing:
        each = mentions[model_id]
        created = min(mention.started_at for mention in each)
        new.append((each[0].model, StoredModel(min(mention.model.kind for mention in each), created, created, "")))
    writer.insert_models([(_undeclared(model), stored) for model, stored in new])


def declare_models(writer: Writer, facts: Iterable[Facts]) -> None:
    """Let the batch's declarations stand where they are the latest. Last in the transaction, and only those that change
    are locked: all runs of a pipeline share its models."""
    mentions = _by_model(facts)
    changed = _changes(mentions, writer.find_models(sorted(mentions)))
    if not changed:
        return
    changed = _changes({id_: mentions[id_] for id_ in changed}, writer.find_models(sorted(changed), lock=True))
    declared = {id_: (model, stored) for id_, (model, stored, declares) in changed.items() if declares}
    writer.save_models(list(declared.values()))
    writer.touch_models({id_: stored for id_, (_, stored, declares) in changed.items() if not declares})
    writer.replace_dependencies(
        {id_: [model_from_path(path).id for path in model.depends_on or ()] for id_, (model, _) in declared.items()}
    )


def _by_model(facts: Iterable[Facts]) -> dict[str, list[_Mention]]:
    found: dict[str, list[_Mention]] = {}
    for mention in _mentions(facts):
        found.setdefault(mention.model.id, []).append(mention)
    return found


def _undeclared(model: Model) -> Model:
    return Model(model.id, model.path, model.name, model.kind)


def _changes(
    mentions: Mapping[str, Sequence[_Mention]], stored: Mapping[str, StoredModel]
) -> dict[str, tuple[Model, StoredModel, bool]]:
    """The models that change: as they shall be, and whether a new declaration is the reason."""
    found = {}
    for model_id, each in sorted(mentions.items()):
        known = stored[model_id]
        model, settled = _settled(each, known)
        if settled != known:
            found[model_id] = (model, settled, settled.declared_by != known.declared_by)
    return found


def _mentions(facts: Iterable[Facts]) -> Iterable[_Mention]:
    for each in facts:
        model = each.model
        if model is None:
            continue
        yield _Mention(model, each.started_at, each.node_id if each.declares else "")
        for path in model.depends_on or ():
            yield _Mention(model_from_path(path), each.started_at, "")


def _settled(mentions: Sequence[_Mention], known: StoredModel) -> tuple[Model, StoredModel]:
    """The model as its latest declaration has it, and what decides."""
    latest = max(mentions, key=lambda mention: (bool(mention.declared_by), mention.started_at, mention.declared_by))
    created = min(known.created_at, *(mention.started_at for mention in mentions))
    if latest.declared_by and (
        not known.declared_by or (latest.started_at, latest.declared_by) > (known.updated_at, known.declared_by)
    ):
        return latest.model, StoredModel(latest.model.kind, created, latest.started_at, latest.declared_by)
    if known.declared_by:
        return latest.model, known._replace(created_at=created)
    # Nobody has declared it: the kind that comes first in the alphabet, so that the order of arrival does not count.
    kind = min(known.kind, *(mention.model.kind for mention in mentions))
    return latest.model, StoredModel(kind, created, created, "")


def save_environments(writer: Writer, facts: Iterable[Facts]) -> None:
    """Write the environments that the batch's runs are in; each has the commit of its latest run that tells one."""
    runs_in: dict[str, list[Run]] = {}
    for each in facts:
        if each.run is not None:
            runs_in.setdefault(each.run.environment, []).append(each.run)
    if not runs_in:
        return
    stored = writer.find_environments(sorted(runs_in), lock=True)
    changed: dict[str, tuple[str | None, StoredEnvironment]] = {}
    touched: dict[str, int] = {}
    for name, runs in runs_in.items():
        known = stored.get(name)
        first = min(run.started_at for run in runs)
        created = first if known is None else min(first, known.created_at)
        telling = [run for run in runs if run.code_ref is not None]
        latest = max(telling, key=lambda run: (run.started_at, run.trace_id, run.root_span_id or ""), default=None)
        if latest is not None:
            by = f"{latest.trace_id}{latest.root_span_id}"
            if known is None or not known.declared_by or (latest.started_at, by) > (known.updated_at, known.declared_by):
                changed[name] = (latest.code_ref, StoredEnvironment(created, latest.started_at, by))
                continue
        if known is None or (created != known.created_at and not known.declared_by):
            changed[name] = (None, StoredEnvironment(created, created, ""))
        elif created != known.created_at:
            touched[name] = created
    writer.save_environments(changed)
    writer.touch_environments(touched)
