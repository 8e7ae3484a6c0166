"""Privileged access: does a model say more about itself than another can say that saw the same choices?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from introspect._random import stream
from introspect.backend.wire import ModelRef
from introspect.decision import TrialGenerator, TrialSet
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
        stages, seed = ctx.stages, ctx.seed
        shown_to_others = Node(
            "privileged: shown choices", ("train instilled", "draw"),
            lambda got: stages.choices(
                seed, "privileged", got["train instilled"].ref, _fresh(ctx, got["draw"].measure, got["draw"].instil),
                "shown ",
            ),
        )  # fmt: skip
        nodes = [shown_to_others]
        for other in _others(ctx):
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

        for other in _others(ctx):
            against(f"{other}, trained on its choices", ctx.held_out(got, f"privileged {other} fold"))
        if ctx.options.twin:
            against("twin: the same lessons, another order", ctx.held_out(got, "twin1 fold"))
        if ctx.options.regression:
            choices: ChoiceTable = got["privileged: shown choices"]
            # Single letters, as every outsider saw them.
            seen = ChoiceTable.from_choices(choices.trials, choices.chosen)
            against("regression on its choices", _plain_weights(ctx, seen))
        margins = [(label, margin) for label, margin in margins if math.isfinite(margin.interval.low)]
        if not margins:
            return Reading(tuple(rows), "There is no margin: no outsider was named, or r has no interval here.")
        label, smallest = min(margins, key=lambda m: m[1].rise)
        verdict = "privileged" if smallest.interval.low > 0 else "no margin"
        meaning = (
            "it says more about itself than any outsider does"
            if verdict == "privileged"
            else "what it says of itself, an outsider with its choices can say as well"
        )
        return Reading(
            tuple(rows),
            f"Its own reports have r = {shown(rows[0]['r'])}; the smallest margin is {shown(smallest.rise)} "
            f"[{shown(smallest.interval.low)}, {shown(smallest.interval.high)}], over {label}: {meaning}.",
            verdict,
        )


def _others(ctx: ControlContext) -> tuple[str, ...]:
    """Backends of the outsiders; for a shipped organism another one where none is named."""
    if ctx.options.others is not None:
        return tuple(ctx.options.others)
    if ctx.model.provider == "organism":
        return ("organism:weak",) if ctx.model.model == "shared" else ("organism:shared",)
    return ()


def _fresh(ctx: ControlContext, measure: TrialSet, taught: TrialSet) -> TrialSet:
    """As many trials a context as were taught, none of them used before."""
    p, scenarios = ctx.stages.protocol, ctx.stages.scenarios
    seen = TrialSet.concat([taught, measure])
    n = p.n_instil + p.n_measure + p.n_instil
    trials = TrialGenerator(counterbalance=p.counterbalance).trials(scenarios, n, stream(ctx.seed, "privileged"))
    return unseen(trials, seen, p.n_instil)


def _plain_weights(ctx: ControlContext, choices: ChoiceTable) -> dict[str, dict[str, float]]:
    weights = ctx.stages.estimator.fit(choices)
    dead = weights.unusable()
    return {i: weights.weights(i) for i in weights.scenario_ids if i not in dead}


def _outsider(ctx: ControlContext, other: str, shown_to_others: str) -> list[Node]:
    stages, seed, name = ctx.stages, ctx.seed, f"privileged {other}"

    def learn(got: Mapping[str, Any]) -> FineTuned:
        table: ChoiceTable = got[shown_to_others]
        trials = table.take(table.valid).labelled()
        return stages.train(
            seed, name, backend_ref(other), stages.protocol.instil, lambda tuner, base: tuner.instil(base, trials),
            trials.hash,
        )  # fmt: skip

    nodes = [Node(f"train {name}", (shown_to_others,), learn)]
    for k, (_, test) in enumerate(ctx.folds, 1):
        own = f"{name} fold{k}"
        nodes += [ctx.fold_training(own, f"train {name}", k), ctx.reports_of(own, f"train {own}", test)]
    return nodes
