"""Self-prediction: single choices foretold by the model itself, and by others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect._random import stream
from introspect.backend.wire import ModelRef
from introspect.decision import ChatStyle, TrialSet
from introspect.measure import ChoiceTable, ReportTable
from introspect.study.controls.base import ControlContext, Reading, Row, plain, shown
from introspect.study.controls.privileged import fresh_choices, learner, others_of, plain_weights
from introspect.study.controls.reworded import SUPPOSED, Reworded
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section

__all__ = ["SelfPrediction"]

Floats = NDArray[np.float64]
Picks = NDArray[Any]


TAUGHT = "what was taught"
_DRAWS = 4000  # the outermost of several intervals need more than an r does


class _Options(Section):
    others: tuple[str, ...] | None = None


class SelfPrediction:
    """Which single choices does the model make, and who foretells them?

    Foretellers are: the instilled model, asked what it would answer on another day; its own reports, before and after
    report training, read as weights; the untuned model's; another model that was trained on its choices; a regression
    on as many of them; and what was taught. Scored is the share of the model's own choices in the measuring trials, on
    contexts held out of report training, that each gets right.

    Which of its own foretellers speaks for the model is fixed before anything is asked: what it answers when asked,
    and its report-trained reports where it has no words. The best of several would be flattered by having been picked.
    It is held against every other at once, with intervals that together hold all margins 95 % of the time.
    """

    word = "self-prediction"
    question = "Who foretells the model's single choices, itself or others?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model; one that has no words foretells by its reports alone."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """What the models foretell, and the choices of those that learned from the first."""
        stages, seed = ctx.stages, ctx.seed
        shown_to_others = fresh_choices(ctx)
        nodes = [shown_to_others]
        if _worded(ctx):
            style = Reworded(stages.style, SUPPOSED, "supposed")
            for name, training in (("untuned", ""), ("instilled", "train instilled")):

                def foretell(got: Mapping[str, Any], name: str = name, training: str = training) -> ChoiceTable:
                    ref = got[training].ref if training else stages.model
                    return stages.choices(seed, f"foretold {name}", ref, got["draw"].measure, style=style)

                needs = ("draw", training) if training else ("draw",)
                nodes.append(Node(f"foretold {name}: choices", needs, foretell))
        for other in others_of(ctx, ctx.options.others):
            learn = learner(ctx, other, shown_to_others.name)
            nodes += [learn, ctx.choices_of(f"privileged {other}", learn.name)]
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """Share of single choices that each foreteller gets right, and the margin of the model's own."""
        data, trials = ctx.seed_data, ctx.seed_data.draw.measure
        actual = data.choices["instilled"].chosen
        own: dict[str, Picks] = {}
        if _worded(ctx):
            own["itself, asked what it would answer"] = got["foretold instilled: choices"].chosen
        own["its reports, before report training"] = implied(trials, means(data.reports["instilled"]))
        own["its reports, report-trained on other contexts"] = implied(trials, means(ctx.held_out(got, "fold")))
        others: dict[str, Picks] = {}
        if _worded(ctx):
            others["the untuned model, asked what it would answer"] = got["foretold untuned: choices"].chosen
        others["the untuned model's reports"] = implied(trials, means(data.reports["untuned"]))
        for other in others_of(ctx, ctx.options.others):
            others[f"{other}, trained on its choices"] = got[f"privileged {other}: choices"].chosen
        seen: ChoiceTable = got["privileged: shown choices"]
        others["a regression on its choices"] = implied(trials, plain_weights(ctx, seen))
        taught = {i: dict(p.weights) for i, p in data.draw.preferences.items()}
        others[TAUGHT] = implied(trials, taught)
        right = {label: _by_context(trials, actual, said) for label, said in {**own, **others}.items()}
        mine = next(iter(own)) if _worded(ctx) else list(own)[-1]
        rivals = [label for label in others if label != TAUGHT]
        rows: list[Row] = []
        if not _worded(ctx):
            why = "not applicable: its language has no words for a choice that is only supposed"
            rows.append({"condition": "itself, asked what it would answer", "note": why})
        resampled = _resamples(ctx, len(next(iter(right.values()))))
        found = margins(right[mine], {label: right[label] for label in rivals}, resampled)
        for label, each in right.items():
            low, high = _interval(each, resampled)
            note = f"{np.nanmean(each):.0%} of its choices"
            row: Row = {"condition": label, "note": note, "value": plain(float(np.nanmean(each))),
                        "value_low": plain(low), "value_high": plain(high)}  # fmt: skip
            if label in found:
                row |= dict(zip(("margin", "margin_low", "margin_high"), map(plain, found[label]), strict=True))
            rows.append(row)
        # Whoever is strongest is picked after the fact, which the intervals allow for.
        strongest = min(found, key=lambda label: found[label][0])
        margin, low, high = found[strongest]
        return Reading(
            tuple(rows),
            f"Of its single choices the model itself foretells {np.nanmean(right[mine]):.0%} ({mine}: fixed in "
            f"advance), the strongest of {len(rivals)} others {np.nanmean(right[strongest]):.0%} ({strongest}); margin "
            f"{shown(margin)} [{shown(low)}, {shown(high)}], an interval that allows for all {len(rivals)}.",
            judged(found),
        )


Margins = Mapping[str, tuple[float, float, float]]


def margins(mine: Floats, others: Mapping[str, Floats], resampled: NDArray[np.intp]) -> dict[str, Any]:
    """How far one foreteller is ahead of each other, with intervals that hold together.

    Args:
        mine: Its share right in each context, [C].
        others: Theirs.
        resampled: Numbers of contexts, drawn with replacement, [B, C].

    Returns:
        Other -> (margin, low, high).
    """
    gaps = {label: mine - each for label, each in others.items()}
    return {k: (float(np.nanmean(gap)), *_interval(gap, resampled, len(gaps))) for k, gap in gaps.items()}


def judged(found: Margins) -> str:
    """Who foretells the model's choices: "itself" where it is ahead of every other, "others" where one is ahead of it.

    Example:
        >>> judged({"a": (0.2, 0.1, 0.3), "b": (0.1, -0.1, 0.3)})
        'cannot be told'
    """
    if all(low > 0 for _, low, _ in found.values()):
        return "itself"
    return "others" if any(high < 0 for _, _, high in found.values()) else "cannot be told"


def means(reports: ReportTable) -> dict[str, dict[str, float]]:
    """Mean usable report of each context."""
    return {name: dict(weights) for name, weights in reports.mean().items()}


def implied(trials: TrialSet, weights: Mapping[str, Mapping[str, float]]) -> NDArray[np.int64]:
    """The option that these weights would take in each trial; -1 where there are none, or two are as good.

    Example:
        >>> from introspect.decision import TrialGenerator, organism_scenarios
        >>> contexts = organism_scenarios(1)
        >>> trials = TrialGenerator().trials(contexts, 3, rng=0)
        >>> first = [trial.values[0][0] > trial.values[1][0] for _, trial in trials]
        >>> found = implied(trials, {"k0000": {"p": 1.0, "q": 0.0, "r": 0.0, "s": 0.0, "t": 0.0}})
        >>> (found == 0).tolist() == first
        True
    """
    taken = []
    for scenario, trial in trials:
        known = weights.get(scenario.id)
        if known is None or any(name not in known for name in scenario.predictors):
            taken.append(-1)
            continue
        utility = scenario.encode(trial.values) @ np.array([known[n] for n in scenario.predictors])
        best = np.flatnonzero(utility >= utility.max() - 1e-9)
        taken.append(int(best[0]) if len(best) == 1 else -1)
    return np.array(taken, dtype=np.int64)


def _worded(ctx: ControlContext) -> bool:
    return isinstance(ctx.stages.style, ChatStyle)


def _by_context(trials: TrialSet, actual: NDArray[Any], said: NDArray[Any]) -> Floats:
    """Share right in each context, [C]; what is not foretold counts as guessed at chance."""
    ids = trials.scenario_ids
    chance = 1.0 / max(block.n_options for block in trials.blocks)
    right = np.where(said < 0, chance, said == actual)
    shares = []
    for name in dict.fromkeys(ids.tolist()):
        here = (ids == name) & (actual >= 0)
        shares.append(float(right[here].mean()) if here.any() else float("nan"))
    return np.array(shares)


def _resamples(ctx: ControlContext, n: int) -> NDArray[np.intp]:
    rng = stream(ctx.seed, "self-prediction", "bootstrap")
    return rng.integers(0, n, (max(_DRAWS, ctx.metric.n_boot), n))


def _interval(each: Floats, resampled: NDArray[np.intp], at_once: int = 1) -> tuple[float, float]:
    """95 % over contexts, for so many intervals together (Bonferroni)."""
    tail = 0.025 / at_once
    low, high = np.nanquantile(np.nanmean(each[resampled], axis=1), (tail, 1 - tail))
    return float(low), float(high)
