"""Rules of many scenarios, of one kind or of several."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from introspect._notebook import frame_of, html_rows, short_repr
from introspect._random import RNG, root_seed
from introspect.decision.by_scenario import ByScenario, json_records
from introspect.decision.preference import Preference
from introspect.decision.preference_set import PreferenceSet
from introspect.decision.rules.base import ChoiceRule
from introspect.decision.rules.control import linear_control
from introspect.decision.rules.interaction import InteractionRule
from introspect.decision.rules.lexicographic import LexicographicRule
from introspect.decision.rules.screening import ScreeningRule
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RuleSet"]

_KINDS: dict[str, type[InteractionRule] | type[ScreeningRule] | type[LexicographicRule]] = {
    "interaction": InteractionRule,
    "screening": ScreeningRule,
    "lexicographic": LexicographicRule,
}


class RuleSet(ByScenario[ChoiceRule]):
    """A mapping from scenario id to rule, in a fixed order.

    Args:
        rules: At most one per scenario.

    Raises:
        ScenarioError: Two rules for one scenario.

    Example:
        >>> rules = RuleSet([InteractionRule(scenario_id="flat", weights={"rent": -100.0, "size": 40.0})])
        >>> RuleSet.from_json(rules.to_json()) == rules
        True
    """

    noun = "rules"

    def __init__(self, rules: Iterable[ChoiceRule] = ()) -> None:
        super().__init__(rules)

    def to_frame(self) -> pd.DataFrame:
        """One row per scenario: its rule, in words where it has some."""
        return frame_of({"scenario_id": name, "rule": _said(rule)} for name, rule in self.items())

    def _repr_html_(self) -> str:
        rows = [{"scenario": name, "rule": _said(rule)} for name, rule in self.items()]
        return html_rows(repr(self), rows, most=10)

    def linear_controls(self, scenarios: Iterable[DecisionScenario], rng: RNG) -> PreferenceSet:
        """The linear preference that matches each rule's choices best.

        Raises:
            ScenarioError: A scenario has no rule, or its rule does not fit.
        """
        todo = list(scenarios)
        missing = [s.id for s in todo if s.id not in self]
        if missing:
            raise ScenarioError(f"scenario {missing[0]!r} has no rule; {len(self)} are given")
        seed = root_seed(rng)
        return PreferenceSet(linear_control(self[s.id], s, seed) for s in todo)

    def to_json(self) -> str:
        """JSON text that `from_json` reads back without loss.

        Raises:
            ScenarioError: A rule is of the user's own making.
        """
        rows = []
        for rule in self.values():
            if not isinstance(rule, Preference | InteractionRule | ScreeningRule | LexicographicRule):
                raise ScenarioError(
                    f"scenario {rule.scenario_id!r}: a {type(rule).__name__} cannot be written; only "
                    f"preferences and {', '.join(_KINDS)} rules can"
                )
            rows.append({"rule": "linear", **rule.model_dump(mode="json")})
        return json.dumps(rows, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ScenarioError: Not JSON, or not a list of rules.
        """
        return cls(_rule(row) for row in json_records(text, cls.noun))


def _said(rule: ChoiceRule) -> str:
    own = isinstance(rule, Preference | InteractionRule | ScreeningRule | LexicographicRule)
    return short_repr(rule, str(rule)) if own else f"{rule!r:.240}"


def _rule(row: Any) -> ChoiceRule:
    kind = row.get("rule", "linear") if isinstance(row, dict) else None
    if kind == "linear":
        return Preference.model_validate({name: value for name, value in row.items() if name != "rule"})
    if kind not in _KINDS:
        raise ScenarioError(f"expected a rule of kind linear, {', '.join(_KINDS)}, got {kind!r}")
    return _KINDS[kind].model_validate(row)
