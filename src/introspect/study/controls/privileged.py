"""Privileged access: does a model say more about itself than another can say that saw the same choices?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from introspect._random import stream
from introspect.backend.wire import ModelRef
from introspect.decision import TrialSet
from introspect.measure import ChoiceTable, Rise
from introspect.study.controls.base import ControlContext, Reading, Row, rise_fields, shown
from introspect.study.controls.twins import twin_nodes
from introspect.study.drawing import unseen
from introspect.study.graph import Node
from introspect.study.protocols.compiling import backend_ref
from introspect.study.protocols.sections import Section
from introspect.training import FineTuned

__all__ = ["Privileged"]


class _Options(Section):
    others: tuple[str, ...] | None = None
    twin: bool = True
    regression: bool = True


class Privileged:
    """The study's model against outsiders that are given as many of its choices as it was taught itself.

    Others are trained on the first model's own choices and then to report, as it was, on the same contexts; a twin
    had the same lessons in another order; a regression gets the same choices, which costs nothing beyond them. All are
    scored against the first model's weights, on the same held-out contexts. The margin is the paired difference.
    """

    word = "privileged"
    question = "Does the model say more about itself than an outsider that saw as many of its choices?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model that can be trained."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """The first model's choices, then each outsider's training on them, its report training and its reports."""
        shown_to_others = fresh_choices(ctx)
        nodes = [shown_to_others]
        for other in others_of(ctx, ctx.options.others):
            nodes += _outsider(ctx, other, shown_to_others.name)
        return nodes + (twin_nodes(ctx, 1) if ctx.options.twin else [])

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """r of each reporter with the first model's weights, and the margin of its own reports over each."""
        own = ctx.held_out(got, "fold")
        rows: list[Row] = [ctx.row("itself", own)]
        margins: list[tuple[str, Rise]] = []

        def against(label: str, said: Any, **more: Any) -> None:
            margin = ctx.rise(said, own)
            margins.append((label, margin))
            rows.append(ctx.row(label, said, **rise_fields(margin), **more))

        for other in others_of(ctx, ctx.options.others):
            against(f"{other}, trained on its choices", ctx.held_out(got, f"privileged {other} fold"))
        if ctx.options.twin:
            against("twin: the same lessons, another order", ctx.held_out(got, "twin1 fold"))
        if ctx.options.regression:
            choices: ChoiceTable = got["privileged: shown choices"]
            against("regression on its choices", plain_weights(ctx, choices))
        margins = [(label, margin) for label, margin in margins if math.isfinite(margin.interval.low)]
        if not margins:
            return Reading(tuple(rows), "There is no margin: no outsider was named, or r has no interval here.")
        label, smallest = min(margins, key=lambda m: m[1].rise)
        # A margin that is not told from 0 is no finding that there is none.
        verdict = "cannot be told"
        if all(margin.interval.low > 0 for _, margin in margins):
            verdict = "privileged"
        elif smallest.rise <= 0:
            verdict = "no margin"
        meaning = {
            "privileged": "it says more about itself than any outsider does",
            "no margin": "what it says of itself, an outsider with its choices can say as well",
            "cannot be told": "whether it says more about itself than every outsider does cannot be told",
        }[verdict]
        return Reading(
            tuple(rows),
            f"Its own reports have r = {shown(rows[0]['r'])}; the smallest margin is {shown(smallest.rise)} "
            f"[{shown(smallest.interval.low)}, {shown(smallest.interval.high)}], over {label}: {meaning}.",
            verdict,
        )


def fresh_choices(ctx: ControlContext) -> Node:
    """The instilled model's choices in trials that nothing else uses: what outsiders are shown."""
    stages, seed = ctx.stages, ctx.seed

    def choose(got: Mapping[str, Any]) -> ChoiceTable:
        trials = _fresh(ctx, got["draw"].measure, got["draw"].instil)
        return stages.choices(seed, "privileged", got["train instilled"].ref, trials, "shown ")

    return Node("privileged: shown choices", ("train instilled", "draw"), choose)


def others_of(ctx: ControlContext, named: Sequence[str] | None) -> tuple[str, ...]:
    """Backends of the outsiders; for a shipped organism another one where none is named."""
    if named is not None:
        return tuple(named)
    if ctx.model.provider == "organism":
        return ("organism:weak",) if ctx.model.model == "shared" else ("organism:shared",)
    return ()


def _fresh(ctx: ControlContext, measure: TrialSet, taught: TrialSet) -> TrialSet:
    """As many trials a context as were taught, none of them used before."""
    stages, p, scenarios = ctx.stages, ctx.stages.protocol, ctx.stages.scenarios
    seen = TrialSet.concat([taught, measure])
    n = p.n_instil + p.n_measure + p.n_instil
    trials = stages.generator.trials(scenarios, n, stream(ctx.seed, "privileged"))
    return unseen(trials, seen, p.n_instil)


def plain_weights(ctx: ControlContext, choices: ChoiceTable) -> dict[str, dict[str, float]]:
    """Weights fitted to single letters, as every outsider saw them."""
    weights = ctx.stages.estimator.fit(ChoiceTable.from_choices(choices.trials, choices.chosen))
    dead = weights.unusable()
    return {i: weights.weights(i) for i in weights.scenario_ids if i not in dead}


def learner(ctx: ControlContext, other: str, shown_to_others: str) -> Node:
    """The training of an outsider on the first model's choices."""
    stages, seed, name = ctx.stages, ctx.seed, f"privileged {other}"

    def learn(got: Mapping[str, Any]) -> FineTuned:
        table: ChoiceTable = got[shown_to_others]
        trials = table.take(table.valid).labelled()
        return stages.train(
            seed, name, backend_ref(other), stages.protocol.instil, lambda tuner, base: tuner.instil(base, trials),
            trials.hash,
        )  # fmt: skip

    return Node(f"train {name}", (shown_to_others,), learn)


def _outsider(ctx: ControlContext, other: str, shown_to_others: str) -> list[Node]:
    name = f"privileged {other}"
    nodes = [learner(ctx, other, shown_to_others)]
    for k, (_, test) in enumerate(ctx.folds, 1):
        own = f"{name} fold{k}"
        nodes += [ctx.fold_training(own, f"train {name}", k), ctx.reports_of(own, f"train {own}", test)]
    return nodes
