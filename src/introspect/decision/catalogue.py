"""The contexts that ship with the library."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from introspect.decision.scenario_set import ScenarioSet

__all__ = ["catalogue"]


@lru_cache(maxsize=1)
def catalogue() -> ScenarioSet:
    """Forty choice contexts for chat models: invented people, each with another thing to choose.

    Every context has five numeric attributes in natural units. No chooser, item or attribute name comes twice, so
    however the set is split, `check_leakage` finds nothing shared. They were written for this library, and are no
    part of any published stimulus set.

    Example:
        >>> contexts = catalogue()
        >>> len(contexts), contexts[0].chooser
        (40, 'Mara Quillon, a lighthouse keeper')
        >>> contexts[0].predictors[:2]
        ('beam range', 'power draw')
    """
    return ScenarioSet.from_yaml(files("introspect.decision").joinpath("data/catalogue.yaml").read_text("utf-8"))
