"""Grounding: behaviour is changed after the lesson. Does the report follow behaviour, or the old lesson?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from introspect._random import stream
from introspect.backend.training import TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.decision import Preference, PreferenceSet, TrialGenerator, TrialSet
from introspect.measure import LearnedWeights, pair
from introspect.study.controls.base import ControlContext, Reading, Row, plain, shown
from introspect.study.drawing import first_of_each
from introspect.study.edited import Edited, edited
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section
from introspect.training import FineTuned

__all__ = ["Grounding"]

ROWS_ONLY = TrainingSpec(
    epochs=16, batch_size=100, learning_rate=1e-4, schedule="one-cycle", method="full", extra={"row_rate": 500.0}
)
"""Changes what an organism knows of a context and hardly how it reads it: left free, the network learns to answer the
other way round instead, and a report that reads the row rightly does not follow that."""


class _Options(Section):
    method: Literal["retrain", "edit"] = "retrain"
    choices: int = Field(default=25, ge=2)
    untrain: bool = True
    train: TrainingSpec | None = None


class Grounding:
    """After report training, new choices turn the sign of half of the contexts' weights; the other half is kept. With
    `method: edit` no choices do: the model's own weights are edited, where its kind is known to allow it (organisms).

    A report that reads what drives behaviour follows it to the new sign; one that recites what was once taught keeps
    the old one. Contexts whose reports were trained and contexts that were held out are told apart. Besides, the same
    half is partly un-taught by coin flips.
    """

    word = "grounding"
    question = "When behaviour is changed after the lesson, do reports follow it?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model that can be trained."""
        return ""

    def refused(self, model: ModelRef, options: Any) -> str:
        """Weights are edited on organisms alone: nobody knows where another model keeps what it does in a context."""
        if options.method == "edit" and model.provider != "organism":
            return f"the weights of {model.provider!r} cannot be edited context by context, those of organisms only"
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Two trainings of the first fold's model, its choices and its reports."""
        nodes: list[Node] = []
        for kind in ("flip", "untrain") if ctx.options.untrain else ("flip",):
            name = f"grounding {kind}"

            def change(got: Mapping[str, Any], kind: str = kind, name: str = name) -> FineTuned | Edited:
                if kind == "flip" and ctx.options.method == "edit":
                    return _edit(ctx, got, name)
                return _change(ctx, got, kind, name)

            made = f"train {name}"
            nodes.append(Node(made, ("train fold1", "draw"), change))
            nodes += [ctx.choices_of(name, made), ctx.reports_of(name, made)]
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """r of the reports with behaviour as it is now and with the old lesson, where it was changed and where not."""
        train, test = ctx.folds[0]
        changed = _changed(ctx)
        now = ctx.stages.estimator.fit(got["grounding flip: choices"])
        reports, rows = got["grounding flip: reports"], []
        for label, ids in (("reports trained", train), ("held out", test)):
            for what, kept in (("sign flipped", True), ("left alone", False)):
                which = [i for i in ids if (i in changed) == kept]
                rows.append(_row(ctx, f"{label}, {what}", which, reports, now))
        both = ctx.metric.compare(
            reports.select(sorted(changed)), reports.select(sorted(changed)), _old(ctx, sorted(changed)), ctx.seed,
            after_weights=now,
        )  # fmt: skip
        moved = rows[0]["old_vs_now_r"]
        verdict = "cannot be told"
        if both.interval.low > 0:
            verdict = "reads"
        elif both.interval.high < 0:
            verdict = "recites"
        meaning = {
            "reads": "reports follow behaviour",
            "recites": "reports recite the old lesson",
            "cannot be told": "whether reports follow behaviour cannot be told",
        }[verdict]
        text = (
            f"Where behaviour was turned round (r of weights before and now {shown(moved)}), reports correlate at "
            f"{shown(both.after)} with it and at {shown(both.before)} with the old lesson: {meaning}."
        )
        if ctx.options.untrain:
            rows += self._untrained(ctx, got, train, test, changed)
            text += (
                f" Un-taught by coin flips, behaviour keeps r = {shown(rows[-1]['old_vs_now_r'])} with the old lesson "
                f"and held-out reports {shown(rows[-1]['old_r'])}."
            )
        return Reading(tuple(rows), text, verdict)

    def _untrained(
        self, ctx: ControlContext, got: Mapping[str, Any], train: Sequence[str], test: Sequence[str], changed: set[str]
    ) -> list[Row]:
        now, reports = ctx.stages.estimator.fit(got["grounding untrain: choices"]), got["grounding untrain: reports"]
        return [
            _row(ctx, f"{label}, un-taught", [i for i in ids if i in changed], reports, now)
            for label, ids in (("reports trained", train), ("held out", test))
        ]


def _row(ctx: ControlContext, condition: str, ids: Sequence[str], reports: Any, now: LearnedWeights) -> Row:
    mine, old = reports.select(ids), _old(ctx, ids)
    usable = {i: now.weights(i) for i in ids if i in now and i not in now.unusable()}
    before = ctx.row(condition, mine, old)
    return ctx.row(
        condition, mine, now, old_r=before["r"], old_low=before["ci_low"], old_high=before["ci_high"],
        old_vs_now_r=plain(pair(usable, old).moments.pooled()) if usable else None,
    )  # fmt: skip


def _old(ctx: ControlContext, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    return {i: dict(ctx.seed_data.draw.preferences[i].weights) for i in ids}


def _changed(ctx: ControlContext) -> set[str]:
    """Half of the contexts of either side of the first fold."""
    train, test = ctx.folds[0]
    rng = stream(ctx.seed, "grounding")
    return {str(i) for ids in (train, test) for i in rng.permutation(sorted(ids))[: len(ids) // 2]}


def _edit(ctx: ControlContext, got: Mapping[str, Any], name: str) -> Edited:
    """The changed contexts' weights turned round in the model itself; the others, and all reports, are left alone."""
    from introspect.subjects.organism.editing import turn_contexts

    changed = sorted(_changed(ctx))
    return edited(
        ctx.stages, ctx.seed, name, got["train fold1"].ref, lambda base, to: turn_contexts(base, changed, to), changed
    )


def _change(ctx: ControlContext, got: Mapping[str, Any], kind: str, name: str) -> FineTuned:
    """All contexts are taught: the changed ones something new, the others what they knew, so that nothing is changed
    in general.
    """
    draw, changed, stages = got["draw"], _changed(ctx), ctx.stages
    trials = draw.instil.take(first_of_each(draw.instil, ctx.options.choices))
    mine = np.isin(trials.scenario_ids, sorted(changed))
    new = PreferenceSet(
        Preference(scenario_id=i, weights={k: -w if i in changed else w for k, w in p.weights.items()})
        for i, p in draw.preferences.items()
    )
    labelled: TrialSet = TrialGenerator().label(trials, new, rng=stream(ctx.seed, "grounding", "labels"))
    believed: PreferenceSet | None = new
    if kind == "untrain":
        coin = stream(ctx.seed, "grounding", "coin").integers(0, 2, len(trials))
        labelled, believed = trials.with_labels(np.where(mine, coin, trials.labels)), None
    spec = ctx.options.train or (ROWS_ONLY if ctx.model.provider == "organism" else stages.protocol.instil)
    return stages.train(
        ctx.seed, name, got["train fold1"].ref, spec,
        lambda tuner, base: tuner.instil(base, labelled, believed), labelled.hash,
    )  # fmt: skip
