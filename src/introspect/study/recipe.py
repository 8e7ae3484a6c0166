"""A study's settings as plain JSON and back, so that whoever has the file can run its analysis again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, JsonValue

from introspect.backend.wire import ModelRef
from introspect.decision import ChatStyle, DecisionScenario, OrganismStyle, ScenarioSet
from introspect.decision.scenario_io import document, scenarios_of
from introspect.errors import IntrospectError, StoreError
from introspect.measure import AccuracyMetric
from introspect.study.protocol import StudyProtocol

if TYPE_CHECKING:
    from introspect.study.study import Study

__all__ = ["recipe_of", "study_of"]

# What can be written down and made again. A file names one of these and never a module to import: it may come from
# anywhere.
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (ModelRef, StudyProtocol, ChatStyle, OrganismStyle, AccuracyMetric)
}
_LEFT_OUT = ("out", "durability", "batch", "budget")  # how, and not what


def recipe_of(study: Study) -> dict[str, JsonValue]:
    """All settings of a study but where it lies. A part of the user's own making is only named."""
    given = {field.name: getattr(study, field.name) for field in fields(study) if field.name not in _LEFT_OUT}
    given["style"] = study.words  # a default may be another one day
    return {name: _written(value) for name, value in given.items()}


def study_of(recipe: Mapping[str, Any], out: Path | str, **own: Any) -> Study:
    """The study of a recipe.

    Args:
        recipe: From `recipe_of`.
        out: Folder for it.
        own: Parts of the user's own making, by the name of the setting (``style=...``).

    Raises:
        StoreError: The recipe cannot be read, or a part is neither known here nor given.
    """
    from introspect.study.study import Study

    known = {field.name for field in fields(Study)}
    settings: dict[str, Any] = {}
    for name, value in recipe.items():
        if name in own:
            continue
        if name not in known:
            raise StoreError(f"the study was made by another version of introspect: it has a setting {name!r}")
        settings[name] = _made(name, value)
    try:
        return Study(**settings, **own, out=out)
    except (TypeError, IntrospectError) as error:
        raise StoreError(f"the settings of the study cannot be read: {error}") from error


def _written(value: Any) -> JsonValue:
    kind = type(value).__name__
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, BaseModel) and _KINDS.get(kind) is type(value):
        return {"is": kind, "of": value.model_dump(mode="json")}
    if _KINDS.get(kind) is type(value) and is_dataclass(value):
        return {"is": kind, "of": {f.name: _written(getattr(value, f.name)) for f in fields(value) if f.init}}
    if isinstance(value, Iterable):
        rows = list(value)
        if isinstance(value, ScenarioSet) or (rows and all(isinstance(row, DecisionScenario) for row in rows)):
            return {"is": "scenarios", "of": document(rows)}
        return [_written(row) for row in rows]
    return {"is": "own", "of": f"{type(value).__module__}.{type(value).__qualname__}"}


def _made(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_made(name, row) for row in value)
    if not isinstance(value, dict):
        return value
    kind, of = value.get("is"), value.get("of")
    try:
        if kind == "scenarios":
            return ScenarioSet(scenarios_of(of, f"the {name} of the study"))
        if kind in _KINDS and isinstance(of, dict):
            made = _KINDS[kind]
            if issubclass(made, BaseModel):
                return made.model_validate(of)
            return made(**{str(field): _made(name, inner) for field, inner in of.items()})
    except (TypeError, IntrospectError) as error:
        raise StoreError(f"the {name} of the study cannot be read: {error}") from error
    if kind == "own":
        raise StoreError(
            f"the {name} of this study is a {of}, which is not part of introspect: replay it from Python, with "
            f"replay_study(..., {name}=...)"
        )
    raise StoreError(f"the {name} of the study is a {kind!r}, which this version of introspect does not know")
