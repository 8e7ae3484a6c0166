"""What to know about a set of choices before any statistic is computed from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from introspect._notebook import InNotebook, frame_of, short_repr
from introspect._random import RNG, root_seed
from introspect.decision.preference import Preference
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.by_scenario import ScenarioChoices, alike, by_scenario
from introspect.measure.choice_model import ChoiceModel
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.detection import LikelihoodRatio, likelihood_ratios, score_test
from introspect.measure.diagnostics import ADVICE, FLAGS, TRIALS_PER_WEIGHT
from introspect.measure.dominance import Lapses, lapses
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.linearity import Linearity, linearity
from introspect.measure.order_audit import OrderAudit, order_audit

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

__all__ = ["Diagnosis", "Finding", "diagnose"]

LEVEL = 0.05
UNANSWERED = 0.1
"""Share of trials without a usable answer from which a scenario is named."""
MASS_OUTSIDE = 0.1
"""Mean probability outside the answers from which it is named: the choice is then read off a minority."""
LAPSES = 0.1
"""A lapse estimate whose interval lies wholly above this is named."""
LAPSE_TRIALS = 10
"""... in a scenario from so many trials with a dominated option on."""


@dataclass(frozen=True)
class Finding:
    """One remarkable thing.

    Attributes:
        code: What kind; a flag of `LearnedWeights`, or one of "lapses", "order_inconsistent", "nonlinear",
            "unanswered", "mass_outside".
        scenario_id: Where; "" for all scenarios together.
        statistic: The figure behind it; NaN where the code says it all.
        p: Its p value, NaN where it has none.
        sentence: With the numbers, and what to do about it.
    """

    code: str
    scenario_id: str
    statistic: float
    p: float
    sentence: str


@dataclass(frozen=True, eq=False)
class Diagnosis(InNotebook):
    """Findings, and the measurements behind them.

    Attributes:
        findings: Those over all scenarios first, then by scenario.
        lapses: Dominance failures over all scenarios; by scenario in `lapses_by`.
        order: Order audit over all scenarios; by scenario in `order_by`.
        linearity: Lack of fit over all scenarios; by scenario in `linearity_by`.
        detection: Scenario -> likelihood-ratio test that no weight matters.
        detection_p: Scenario -> score test p of the same; the flag "undetected" is this at 5 %.
        scenario_ids: Everything looked at.
    """

    findings: tuple[Finding, ...]
    lapses: Lapses
    lapses_by: Mapping[str, Lapses]
    order: OrderAudit
    order_by: Mapping[str, OrderAudit]
    linearity: Linearity
    linearity_by: Mapping[str, Linearity]
    detection: Mapping[str, LikelihoodRatio]
    detection_p: Mapping[str, float]
    scenario_ids: tuple[str, ...]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def of(self, scenario_id: str) -> tuple[Finding, ...]:
        """The findings about one scenario; "" for those about all together.

        Raises:
            MeasureError: The scenario was not looked at.
        """
        if scenario_id and scenario_id not in self.scenario_ids:
            raise MeasureError(f"scenario {scenario_id!r} was not diagnosed; there are {len(self.scenario_ids)}")
        return tuple(f for f in self.findings if f.scenario_id == scenario_id)

    def with_code(self, code: str) -> tuple[str, ...]:
        """Scenarios with a finding of that kind."""
        return tuple(f.scenario_id for f in self.findings if f.code == code and f.scenario_id)

    def sentences(self) -> list[str]:
        """What holds over all scenarios, then one line per kind of finding inside scenarios."""
        lines = [*_overall(self)]
        for code in dict.fromkeys(f.code for f in self.findings if f.scenario_id):
            named = [f for f in self.findings if f.code == code and f.scenario_id]
            more = f" (and {len(named) - 1} more: {_some([f.scenario_id for f in named[1:]])})" if named[1:] else ""
            lines.append(named[0].sentence + more)
        return lines

    def to_frame(self) -> pd.DataFrame:
        """The same as `to_pandas`: every table of the library has a `to_frame`."""
        return self.to_pandas()

    def to_pandas(self) -> pd.DataFrame:
        """One row per finding."""
        return frame_of([asdict(f) for f in self.findings], list(Finding.__dataclass_fields__))

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self)} findings in {len(self.scenario_ids)} scenarios")


def diagnose(
    choices: ChoiceTable | TrialSet,
    learned: LearnedWeights | None = None,
    *,
    signs: Mapping[str, Preference] | None = None,
    rng: RNG = 0,
    n_permutations: int = 199,
    n_boot: int = 49,
) -> Diagnosis:
    """Look at choices before computing anything from them.

    Args:
        choices: A model's choices, or trials with labels (-1 is missing).
        learned: Weights fitted to them; fitted with `ChoiceModel()` if not given. Its prior scales are used. Log-odds
            stand for the choices wherever all answers of a scenario show them, unless these weights were fitted to
            choices alone.
        signs: Preferences whose signs say which way is better, for the dominance failures (an instilled
            model's targets). Fitted, leaving out each trial in turn, where not given.
        rng: Seed of the permutations and of the drawn data sets.
        n_permutations: Of each scenario's likelihood-ratio test.
        n_boot: Data sets behind the pooled test of linearity.

    Raises:
        MeasureError: There are no trials, or the weights are of other scenarios.

    Example:
        >>> from introspect.decision import PreferenceSampler, TrialGenerator, label, organism_scenarios
        >>> contexts = organism_scenarios(3)
        >>> wishes = PreferenceSampler().sample(contexts, rng=0)
        >>> trials = label(TrialGenerator().trials(contexts, 40, rng=0), wishes, "logistic", rng=0)
        >>> found = diagnose(trials.with_labels(np.where(trials.scenario_ids == contexts[0].id, 0, trials.labels)))
        >>> "one_sided" in [f.code for f in found.of(contexts[0].id)]
        True
    """
    weights = ChoiceModel().fit(choices) if learned is None else learned
    parts = by_scenario(choices, graded=not weights.graded or any(weights.graded))
    strangers = [p.scenario.id for p in parts if p.scenario.id not in weights]
    if strangers:
        raise MeasureError(f"the weights lack scenarios that the choices have, such as {strangers[:3]}")
    root, sd = root_seed(rng), weights.intercept_sd
    # Estimators without a prior carry no scale; the checks here still need finite weights.
    tau = weights.tau if 0 < weights.tau < math.inf else ChoiceModel().tau
    pooled_lapses, lapses_by = lapses(parts, signs, tau, sd)
    pooled_order, order_by = order_audit(parts, tau, sd)
    pooled_line, line_by = linearity(parts, root, tau, sd, n_boot)
    detection = likelihood_ratios(parts, root, n_permutations)
    score = _score_p(parts)
    found = Diagnosis(
        (), pooled_lapses, lapses_by, pooled_order, order_by, pooled_line, line_by, detection, score,
        tuple(p.scenario.id for p in parts),
    )  # fmt: skip
    findings = [*_pooled(found)]
    outside = _mean_outside(choices)
    for part in parts:
        findings += _flagged(part, weights, found)
        findings += _measured(part, found, outside.get(part.scenario.id, math.nan))
    if isinstance(choices, ChoiceTable):
        findings = [*_answers(choices), *findings]
    object.__setattr__(found, "findings", tuple(findings))
    return found


def _score_p(parts: list[ScenarioChoices]) -> dict[str, float]:
    found = {part.scenario.id: math.nan for part in parts}
    for group in alike(parts):
        design, outcome = (
            np.stack(rows) for rows in zip(*((parts[i].design(), _answer(parts[i])) for i in group), strict=True)
        )
        p = score_test(design, outcome, np.ones(design.shape[:2]), parts[group[0]].encoded.shape[2]).p
        found.update((parts[i].scenario.id, float(value)) for i, value in zip(group, p, strict=True))
    return found


def _answer(part: ScenarioChoices) -> Floats:
    """What the score test looks at, [n, J - 1]: choices, or log-odds brought between 0 and 1, whose share of
    explained spread does not depend on their scale."""
    if not part.graded:
        return part.outcome
    assert part.log_odds is not None
    return np.asarray(0.5 + 0.5 * part.log_odds / (np.abs(part.log_odds).max() + 1.0))[:, None]


def _answers(table: ChoiceTable) -> Iterator[Finding]:
    n = len(table)
    lost = n - int(table.valid.sum())
    if lost:
        kinds = ", ".join(f"{count} {status}" for status, count in table.statuses().items() if status != "answered")
        yield Finding(
            "unanswered", "", lost / n, math.nan,
            f"{lost} of {n} trials ({lost / n:.1%}) have no usable choice: {kinds}. They are missing, not choices; "
            "read some of the replies, since a model that avoids hard choices leaves a selected sample.",
        )  # fmt: skip
    known = table.mass_outside[np.isfinite(table.mass_outside)]
    if known.size and (known > MASS_OUTSIDE).any():
        yield Finding(
            "mass_outside", "", float(known.mean()), math.nan,
            f"On average {known.mean():.1%} of the probability lies on none of the answers, and more than "
            f"{MASS_OUTSIDE:.0%} in {int((known > MASS_OUTSIDE).sum())} of {known.size} trials. Check the answer "
            "format that the prompt asks for, and the spellings of an answer that are counted.",
        )  # fmt: skip


def _mean_outside(choices: ChoiceTable | TrialSet) -> dict[str, float]:
    if not isinstance(choices, ChoiceTable) or not np.isfinite(choices.mass_outside).any():
        return {}
    names, where = np.unique(choices.trials.scenario_ids, return_inverse=True)
    known = np.isfinite(choices.mass_outside)
    total = np.bincount(where[known], choices.mass_outside[known], len(names))
    n = np.bincount(where[known], minlength=len(names))
    return {str(name): float(t / k) for name, t, k in zip(names, total, n, strict=True) if k}


def _overall(found: Diagnosis) -> Iterator[str]:
    """What holds over all scenarios, remarkable or not."""
    yield from (f.sentence for f in found.findings if not f.scenario_id and f.code in ("unanswered", "mass_outside"))
    a, o, line = found.lapses, found.order, found.linearity
    yield _lapse_sentence(a) if a.n else "No trial shows a dominated option, so lapses were not estimated."
    yield (
        _order_sentence(o)
        if o.n
        else "No options are shown in two orders: ask a tenth of the trials again the other way round to audit that."
    )
    if line.df:
        yield _linearity_sentence(found)
    else:
        yield (
            "Linearity cannot be tested: no value lies inside its range, or there are too few trials. Ask pairs "
            "from inside the ranges."
        )


def _pooled(found: Diagnosis) -> Iterator[Finding]:
    a, o, line = found.lapses, found.order, found.linearity
    if a.n and a.low > LAPSES:
        yield Finding("lapses", "", a.rate, math.nan, _lapse_sentence(a))
    if o.n and o.p < LEVEL:
        yield Finding("order_inconsistent", "", o.inconsistent, o.p, _order_sentence(o))
    if line.df and line.p < LEVEL:
        yield Finding("nonlinear", "", line.statistic, line.p, _linearity_sentence(found))


def _lapse_sentence(a: Lapses) -> str:
    noise = "" if math.isnan(a.expected) else f", where the fitted choice noise alone expects {a.expected:.1f}"
    todo = (
        "Read replies to such trials, and treat weights as those of a partly inattentive chooser."
        if a.low > LAPSES
        else "Nothing needs doing."
        if a.high <= 3 * LAPSES
        else "That is too wide to say; ask more such trials if it matters."
    )
    return (
        f"A dominated option was taken in {a.failures} of {a.n} trials that show one{noise}. Blind picks "
        f"in {a.rate:.0%} of all trials would do that (95 % interval {a.low:.0%} to {a.high:.0%}). {todo}"
    )


def _order_sentence(o: OrderAudit) -> str:
    sides = ""
    if o.first + o.last:
        sides = f" The first shown was taken both times in {o.first} and the last in {o.last} (p {_p(o.p)}" + (
            ", so the side pulls)." if o.p < LEVEL else ", so no side pulls)."
        )
    return (
        f"Shown in another order, {o.inconsistent:.0%} of {o.n} comparisons end with another option. The fit predicts "
        f"{o.expected:.0%}, its choice noise alone {o.noise:.0%}, the side alone {o.side:.0%}.{sides} "
        + ("Keep sides balanced and the intercept in." if o.p < LEVEL else "Nothing needs doing.")
    )


def _linearity_sentence(found: Diagnosis) -> str:
    line = found.linearity
    tested = [single for single in found.linearity_by.values() if single.df]
    bent = sum(single.p < LEVEL for single in tested)
    pooled = "" if math.isnan(line.p) else f" (p over all scenarios {_p(line.p)})"
    todo = (
        "The weights are averages over the range: try levels or a log scale for what bends, and compare_rules."
        if (line.p < LEVEL or bent > 3 * LEVEL * len(tested))
        else "A straight line does."
    )
    return (
        f"Squared attributes add to the fit in {bent} of {len(tested)} scenarios at 5 %, where chance makes "
        f"{LEVEL * len(tested):.1f}{pooled}. {todo}"
    )


def _flagged(part: ScenarioChoices, weights: LearnedWeights, found: Diagnosis) -> Iterator[Finding]:
    name = part.scenario.id
    row = weights.index(name)
    for code in weights.flags[row]:
        statistic, p = math.nan, math.nan
        text = ""
        if code == "no_choices":
            statistic, text = float(part.n_missing), f"none of its {part.n_missing} trials has a usable choice"
        elif code == "one_sided":
            statistic = float(part.n)
            text = f"all {part.n} choices fell on option {part.chosen[0] + 1} as shown" if part.n else "no choices"
        elif code == "no_variation":
            same = np.ptp(part.encoded, axis=1).max(axis=0, initial=0.0) == 0
            fixed = [p for p, is_fixed in zip(part.scenario.predictors, same, strict=True) if is_fixed]
            statistic, text = float(len(fixed)), f"the options never differ in {', '.join(fixed)}"
        elif code == "few_trials":
            statistic = float(part.n)
            text = (
                f"{part.n} usable choices for {part.scenario.n_predictors} weights, fewer than "
                f"{TRIALS_PER_WEIGHT * part.scenario.n_predictors}"
            )
        elif code == "undetected":
            ratio, p = found.detection[name], found.detection_p[name]
            statistic = ratio.statistic
            text = "nothing in the choices can be tested"
            if not math.isnan(p):
                text = (
                    f"no preference shows{'' if p >= LEVEL else ' if errors may differ between trials; else it would'} "
                    f"(score test p {_p(p)}; likelihood ratio {ratio.statistic:.1f} on "
                    f"{part.scenario.n_predictors} weights, permutation p {_p(ratio.p)})"
                )
        elif code == "side_bias":
            lean = weights.intercept[row]
            k = int(np.abs(lean).argmax())
            statistic = float(lean[k])
            text = f"option {k + 1} as shown has an advantage of {lean[k]:+.1f} logits over the last"
        elif code == "separated":
            statistic, text = float(part.n), f"some weights explain all {part.n} choices"
        else:
            statistic, text = float(part.n), f"{FLAGS.get(code, code)} ({part.n} choices)"
        yield Finding(code, name, statistic, p, f"Scenario {name!r}: {text}. {ADVICE.get(code, '')}".rstrip())


def _measured(part: ScenarioChoices, found: Diagnosis, outside: float) -> Iterator[Finding]:
    name, n = part.scenario.id, part.n + part.n_missing
    if part.n and part.n_missing > UNANSWERED * n:
        share = part.n_missing / n
        text = f"{part.n_missing} of {n} trials have no usable choice. Read some of the replies."
        yield Finding("unanswered", name, share, math.nan, f"Scenario {name!r}: {text}")
    if outside > MASS_OUTSIDE:
        text = f"{outside:.0%} of the probability lies on none of the answers. Check the answer format."
        yield Finding("mass_outside", name, outside, math.nan, f"Scenario {name!r}: {text}")
    a = found.lapses_by[name]
    if a.n >= LAPSE_TRIALS and a.low > LAPSES:
        yield Finding("lapses", name, a.rate, math.nan, f"Scenario {name!r}: {_lapse_sentence(a)}")
    o = found.order_by.get(name)
    if o is not None and o.p < LEVEL:
        yield Finding("order_inconsistent", name, o.inconsistent, o.p, f"Scenario {name!r}: {_order_sentence(o)}")
    line = found.linearity_by[name]
    if line.df and line.p < LEVEL:
        worst = min(line.by_predictor.items(), key=lambda item: item[1][1], default=None)
        where = ""
        if worst is not None:
            where = f", most in {worst[0]}, which bends {'up' if worst[1][0] > 0 else 'down'} (p {_p(worst[1][1])})"
        text = (
            f"squared attributes add to the fit (chi-square {line.statistic:.1f} on {line.df}, p {_p(line.p)}){where}. "
            "Its weights are averages over the range; try levels, a log scale or compare_rules."
        )
        yield Finding("nonlinear", name, line.statistic, line.p, f"Scenario {name!r}: {text}")


def _p(p: float) -> str:
    return "unknown" if math.isnan(p) else f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
