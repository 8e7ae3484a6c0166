"""The contexts that ship with the library."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from importlib.resources import files

from introspect.decision.scenario_set import ScenarioSet
from introspect.errors import ScenarioError

__all__ = ["catalogue"]


def catalogue(
    *,
    kind: str | Collection[str] | None = None,
    n_attributes: int | Collection[int] | None = None,
    sense: str | Collection[str] | None = None,
    tags: str | Collection[str] = (),
) -> ScenarioSet:
    """Three hundred choice contexts for chat models: invented people, each with another thing to choose.

    No chooser, item or attribute name comes twice, so however the set is split, `check_leakage` finds nothing shared.
    They were written for this library, and are no part of any published stimulus set. The first forty are the contexts
    of its earliest version, in their order: studies take the first n.

    Every context has the tags ``kind:``, ``attributes:``, ``sense:``, ``region:`` and ``era:``, in this order. The
    sense says how far the signs of its weights could be guessed without knowing the chooser: "strong" (nearly everyone
    wants a parcel sooner and cheaper), "some", or "none" (nobody can say how many tassels a saddle should have).
    A model that reports what people in general want is right on the first and not on the last.

    Args:
        kind: goods, services, jobs, medical, policies, schedules, research, travel, pets or software; or several.
        n_attributes: How many attributes, 2 to 10; or several numbers.
        sense: strong, some or none; or several.
        tags: Tags that a context must have, all of them.

    Raises:
        ScenarioError: No context has that kind, number of attributes, sense or tag.

    Example:
        >>> contexts = catalogue()
        >>> len(contexts), contexts[0].chooser
        (300, 'Mara Quillon, a lighthouse keeper')
        >>> medical = catalogue(kind="medical", sense=("some", "none"))
        >>> len(medical), medical[0].item
        (5, 'fever remedy')
        >>> catalogue(kind="food")
        Traceback (most recent call last):
        introspect.errors.ScenarioError: no context of the catalogue has the kind 'food'; there are goods, jobs, ...
    """
    every = _load()
    wanted = [
        *_alternatives(every, "kind", kind),
        *_alternatives(every, "attributes", n_attributes),
        *_alternatives(every, "sense", sense),
        *(option for tag in _several(tags) for option in _exactly(every, tag)),
    ]
    return every.filter(lambda s: all(group & set(s.tags) for group in wanted)) if wanted else every


@lru_cache(maxsize=1)
def _load() -> ScenarioSet:
    return ScenarioSet.from_yaml(files("introspect.decision").joinpath("data/catalogue.yaml").read_text("utf-8"))


def _several(given: object) -> list[str]:
    if isinstance(given, str | int):
        return [str(given)]
    return [str(one) for one in given] if isinstance(given, Collection) else []


def _alternatives(every: ScenarioSet, field: str, given: object) -> list[set[str]]:
    """The tags of which one must be there; none where nothing was asked."""
    if given is None:
        return []
    known = {tag.removeprefix(f"{field}:") for tag in _tags(every) if tag.startswith(f"{field}:")}
    for value in _several(given):
        if value not in known:
            values = ", ".join(sorted(known, key=lambda text: (len(text), text) if text.isdigit() else (0, text)))
            raise ScenarioError(f"no context of the catalogue has the {field} {value!r}; there are {values}")
    return [{f"{field}:{value}" for value in _several(given)}]


def _exactly(every: ScenarioSet, tag: str) -> list[set[str]]:
    known = _tags(every)
    if tag not in known:
        raise ScenarioError(f"no context of the catalogue has the tag {tag!r}; there are {', '.join(sorted(known))}")
    return [{tag}]


def _tags(every: ScenarioSet) -> set[str]:
    return {tag for scenario in every for tag in scenario.tags}
