"""Do two sets of scenarios share what a held-out test must not share?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from introspect._notebook import InNotebook
from introspect.decision.scenario import DecisionScenario

__all__ = ["LeakageReport", "check_leakage"]


@dataclass(frozen=True)
class LeakageReport(InNotebook):
    """What two sets of scenarios have in common, after case, spaces, hyphens and underscores are evened out.

    Attributes:
        scenarios: Shared scenario ids.
        items: Shared items.
        choosers: Shared choosers.
        attributes: Shared attribute names.
    """

    scenarios: tuple[str, ...]
    items: tuple[str, ...]
    choosers: tuple[str, ...]
    attributes: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Nothing is shared."""
        return not (self.scenarios or self.items or self.choosers or self.attributes)

    def sentences(self) -> tuple[str, ...]:
        """One sentence per kind of leak, worst first; empty where nothing is shared."""
        kinds = (
            ("scenario id", self.scenarios, "what is learned in one set is tested in the other"),
            ("chooser", self.choosers, "a preference tied to the chooser may carry over"),
            ("item", self.items, "a preference tied to the item may carry over"),
            ("attribute name", self.attributes, "a weight tied to the name may carry over"),
        )
        return tuple(
            f"The sets share {len(found)} {what}{'s' if len(found) > 1 else ''} ({_list(found)}): {so}."
            for what, found, so in kinds
            if found
        )


def check_leakage(a: Iterable[DecisionScenario], b: Iterable[DecisionScenario]) -> LeakageReport:
    """What the scenarios of `a` and `b` have in common.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> def context(id, chooser, *names):
        ...     axes = [Attribute(name=n, low=0, high=9) for n in names]
        ...     return DecisionScenario(id=id, chooser=chooser, item=id, question="Which?", attributes=axes)
        >>> car, van = context("car", "Ada", "price", "top_speed"), context("van", "Bo", "Top speed", "load")
        >>> report = check_leakage([car], [van])
        >>> report.attributes, report.clean
        (('top speed',), False)
        >>> print(*report.sentences())
        The sets share 1 attribute name (top speed): a weight tied to the name may carry over.
    """
    first, second = list(a), list(b)

    def shared(left: Iterable[str], right: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(set(map(_normal, left)) & set(map(_normal, right))))

    return LeakageReport(
        scenarios=tuple(sorted({s.id for s in first} & {s.id for s in second})),
        items=shared((s.item for s in first), (s.item for s in second)),
        choosers=shared((s.chooser for s in first), (s.chooser for s in second)),
        attributes=shared(
            (x.name for s in first for x in s.attributes), (x.name for s in second for x in s.attributes)
        ),
    )


def _normal(text: str) -> str:
    return re.sub(r"[\s_\-]+", " ", text).strip().casefold()


def _list(words: tuple[str, ...], limit: int = 5) -> str:
    return ", ".join(words[:limit]) + (f" and {len(words) - limit} more" if len(words) > limit else "")
