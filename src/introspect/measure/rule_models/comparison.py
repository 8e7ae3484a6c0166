"""Which rule does this model follow?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from introspect._notebook import InNotebook, frame_of, short_repr
from introspect._random import RNG, root_seed, stream
from introspect.decision.rules.rule_set import RuleSet
from introspect.decision.rules.sampler import RuleKind
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.by_scenario import by_scenario
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.rule_models.common import RuleFit, RulePart, both_ways, fold_cases, judge
from introspect.measure.rule_models.lexicographic import fit_lexicographic
from introspect.measure.rule_models.logits import fit_interaction, fit_linear, prior_scales
from introspect.measure.rule_models.screening import fit_screening

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "RuleComparison", "compare_rules"]

KINDS: tuple[RuleKind, ...] = ("linear", "interaction", "screening", "lexicographic")


NEGLIGIBLE = 0.005
"""Nats per choice: a lead below this is none, whatever its standard error."""


@dataclass(frozen=True, eq=False)
class RuleComparison(InNotebook):
    """Rules fitted to the same choices.

    Attributes:
        fits: Scenario id -> kind -> fit.
        skipped: Scenario id -> why its choices were not compared.
        tau: Prior scale of a weight in the linear logit, in logits, chosen by all scenarios together.
        tau_product: Prior scale of a product in the interaction logit; .05 says that there is none.
    """

    fits: Mapping[str, Mapping[str, RuleFit]]
    skipped: Mapping[str, str]
    tau: float
    tau_product: float

    def best(self) -> dict[str, str]:
        """Scenario -> kind of the highest held-out score; linear unless another leads it by a standard error
        (and by .005 nats a choice).

        The standard error is that of the mean difference of log scores, choice by choice.
        """
        found = {}
        for name, fits in self.fits.items():
            winner = max(fits, key=lambda kind: fits[kind].held_out)
            if "linear" in fits and winner != "linear":
                lead = fits[winner].scores - fits["linear"].scores
                if lead.mean() <= max(lead.std(ddof=1) / math.sqrt(len(lead)), NEGLIGIBLE):
                    winner = "linear"
            found[name] = winner
        return found

    def rules(self, kind: str) -> RuleSet:
        """The fitted rules of one kind.

        Raises:
            MeasureError: That kind was not fitted.
        """
        if any(kind not in fits for fits in self.fits.values()):
            raise MeasureError(f"no rules of kind {kind!r} were fitted; there are {list(self._kinds())}")
        return RuleSet(fits[kind].rule for fits in self.fits.values())

    def lead(self, kind: str) -> tuple[float, float]:
        """Mean over scenarios of a kind's held-out score less the linear one's, and its standard error.

        In nats per choice; positive: this rule foretells choices better than weights do. NaN without two
        scenarios for the error.
        """
        gaps = np.array([fits[kind].held_out - fits["linear"].held_out for fits in self.fits.values()])
        if not gaps.size:
            return math.nan, math.nan
        error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
        return float(gaps.mean()), error

    def table(self) -> list[dict[str, Any]]:
        """One row per kind, over all scenarios: scores, BIC, how many scenarios it is the best in, lapses."""
        best = list(self.best().values())
        rows = []
        for kind in self._kinds():
            fits = [by_kind[kind] for by_kind in self.fits.values()]
            lead, error = self.lead(kind) if "linear" in self._kinds() else (math.nan, math.nan)
            rows.append(
                {
                    "rule": kind,
                    "held_out": float(np.mean([f.held_out for f in fits])),
                    "lead": lead,
                    "lead_se": error,
                    "bic": float(np.sum([f.bic for f in fits])),
                    "log_likelihood": float(np.sum([f.log_likelihood for f in fits])),
                    "lapse": float(np.mean([f.lapse for f in fits])),
                    "best_in": best.count(kind),
                    "scenarios": len(fits),
                }
            )
        return rows

    def sentences(self) -> list[str]:
        """The comparison in words."""
        if not self.fits:
            return ["No scenario had choices that rules could be fitted to."]
        rows = self.table()
        lines = [
            f"A {row['rule']} rule foretells a held-out choice with probability {math.exp(row['held_out']):.2f} "
            f"(geometric mean) and is the best in {row['best_in']} of {row['scenarios']} scenarios"
            + ("." if row["rule"] == "linear" or math.isnan(row["lead_se"]) else (
                f"; {row['lead']:+.3f} nats a choice against the linear rule (standard error {row['lead_se']:.3f})."
            ))
            for row in rows
        ]  # fmt: skip
        lines += [f"Scenario {name!r} was left out: {why}." for name, why in self.skipped.items()]
        return lines

    def to_frame(self) -> pd.DataFrame:
        """The same as `to_pandas`: every table of the library has a `to_frame`."""
        return self.to_pandas()

    def to_pandas(self) -> pd.DataFrame:
        """One row per scenario and rule."""
        best = self.best()
        columns = ("scenario_id", "rule", "held_out", "bic", "log_likelihood", "n_parameters", "lapse", "n", "best")
        rows = [
            (name, kind, f.held_out, f.bic, f.log_likelihood, f.n_parameters, f.lapse, f.n, best[name] == kind)
            for name, fits in self.fits.items()
            for kind, f in fits.items()
        ]
        return frame_of([dict(zip(columns, row, strict=True)) for row in rows], columns)

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self.fits)} scenarios: {', '.join(self._kinds())}")

    def _kinds(self) -> tuple[str, ...]:
        return next((tuple(fits) for fits in self.fits.values()), ())


def compare_rules(
    choices: ChoiceTable | TrialSet,
    *,
    rng: RNG = 0,
    kinds: Sequence[RuleKind] = KINDS,
    n_folds: int = 5,
    graded: bool = True,
) -> RuleComparison:
    """Fit linear, interaction, screening and lexicographic rules to every scenario and score them held out.

    Every rule is mixed with blind picks at a share that fits it best. Prior scales are chosen once, by all
    scenarios together; everything else is fitted anew without each fold.

    Args:
        choices: A model's choices, or trials with labels (-1 is missing).
        rng: Seed of the folds; every scenario has a stream of its own.
        kinds: Which rules.
        n_folds: Folds of the held-out scores.
        graded: Fit and score the probabilities given, where answers to two options show them.

    Raises:
        MeasureError: An unknown kind, or fewer than two folds.

    Example:
        >>> from introspect.decision import RuleSampler, TrialGenerator, label, organism_scenarios
        >>> contexts = organism_scenarios(4)
        >>> rules = RuleSampler(kind="lexicographic").sample(contexts, rng=0)
        >>> trials = label(TrialGenerator().trials(contexts, 150, rng=0), rules, rng=0)
        >>> list(compare_rules(trials).best().values()).count("lexicographic") >= 3
        True
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise MeasureError(f"kinds must be some of {', '.join(KINDS)}, got {list(kinds)}")
    if n_folds < 2:
        raise MeasureError(f"n_folds must be 2 or more, got {n_folds}")
    root = root_seed(rng)
    parts, skipped = [], {}
    for part in by_scenario(choices, graded=graded):
        if part.n < 2 * n_folds:
            skipped[part.scenario.id] = f"{part.n} usable choices, fewer than two a fold"
        elif not np.ptp(part.share if part.graded else part.chosen):
            skipped[part.scenario.id] = "all choices on one side"
        elif "lexicographic" in kinds and all(a.kind == "categorical" for a in part.scenario.attributes):
            skipped[part.scenario.id] = "no attribute has an order"
        else:
            parts.append(part)
    tau, tau_beside, tau_product = prior_scales(parts)
    fits: dict[str, dict[str, RuleFit]] = {}
    for plain in parts:
        cases, fold = fold_cases(plain.n, n_folds, stream(root, "rule folds", plain.scenario.id))
        part, weight = both_ways(plain)
        cases, fold = np.tile(cases, len(weight) // cases.shape[1]) * weight, np.resize(fold, len(weight))
        found: dict[str, RulePart] = {}
        for kind in kinds:
            if kind == "linear":
                found[kind] = fit_linear(part, cases, tau)
            elif kind == "interaction":
                found[kind] = fit_interaction(part, cases, tau_beside, tau_product)
            elif kind == "screening":
                found[kind] = fit_screening(part, cases, tau)
            else:
                found[kind] = fit_lexicographic(part, cases)
        fits[part.scenario.id] = {kind: judge(kind, part, one, cases, fold, weight) for kind, one in found.items()}
    return RuleComparison(fits, skipped, tau, tau_product)
