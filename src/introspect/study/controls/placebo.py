"""Placebo report training: the same training with nothing true in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from introspect._random import stream
from introspect.backend.wire import ModelRef
from introspect.decision import ChatStyle, PreferenceSampler
from introspect.study.controls.base import ControlContext, Reading, Row, rise_fields, shown
from introspect.study.controls.reworded import GENERIC_JSON, Reworded
from introspect.study.drawing import first_of_each
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section
from introspect.training import FineTuned

__all__ = ["Placebo"]

Kind = Literal["shuffled", "other-contexts", "format-only", "n-matched", "generic-json"]
_WORDS = {
    "shuffled": "weights shuffled among a context's attributes",
    "other-contexts": "weights of other contexts",
    "format-only": "weights drawn anew",
    "n-matched": "as many more choices",
    "generic-json": "lengths of names",
}


class _Options(Section):
    kinds: tuple[Kind, ...] = Field(
        default=("shuffled", "other-contexts", "format-only", "n-matched", "generic-json"), min_length=1
    )


class Placebo:
    """Report training with the same number of examples and steps, whose answers say nothing true.

    "shuffled": a context's own weights in another order; "other-contexts": those of another context; "format-only":
    weights drawn anew; "n-matched": as many further choices instead of reports; "generic-json": the same prompt and
    keys, and the length of each name for a value. What these raise is format, not self-knowledge.
    """

    word = "placebo"
    question = "Does report training without true content raise held-out r?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model that can be trained."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Per kind and fold: a training, and reports on what was held out."""
        nodes: list[Node] = []
        for kind in _fitting(ctx):
            for k, (_, test) in enumerate(ctx.folds, 1):
                name = f"placebo {kind} {k}"

                def train(got: Mapping[str, Any], kind: Kind = kind, name: str = name, k: int = k) -> FineTuned:
                    return _train(ctx, got, kind, name, k)

                nodes.append(Node(f"train {name}", ("train instilled", "draw"), train))
                nodes.append(ctx.reports_of(name, f"train {name}", test))
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """r after each placebo, and its rise from before."""
        before = ctx.seed_data.reports["instilled"]
        real = ctx.held_out(got, "fold")
        rows: list[Row] = [ctx.row("before report training", before)]
        true = ctx.rise(before, real)
        rows.append(ctx.row("true weights", real, **rise_fields(true)))
        found = []
        for kind in _fitting(ctx):
            reports = ctx.held_out(got, f"placebo {kind} ")
            rise = ctx.rise(before, reports)
            rows.append(ctx.row(f"placebo: {_WORDS[kind]}", reports, **rise_fields(rise)))
            found.append((rise, ctx.rise(reports, real), _WORDS[kind]))
        for kind in ctx.options.kinds:
            if kind not in _fitting(ctx):
                why = "its language has no words to ask for lengths of names"
                rows.append({"condition": f"placebo: {_WORDS[kind]}", "note": f"not applicable: {why}"})
        # A placebo that leaves nothing to be read raises nothing; without an interval nothing is told.
        known = [(rise, left, what) for rise, left, what in found if math.isfinite(rise.interval.low)]
        if not known or math.isnan(true.interval.low):
            return Reading(
                tuple(rows), "What report training and its placebos do cannot be told: r has no interval here."
            )
        best, _, what = max(known, key=lambda entry: entry[0].rise)
        if any(rise.interval.low > 0 for rise, _, _ in known):
            verdict = "raises r"
            meaning = "training to report raises r even with nothing true in it, so the rise says little"
        elif true.interval.low <= 0:
            verdict, meaning = "does not raise r", "neither raises it, so there is nothing to explain"
        # That a placebo is not seen to raise r shows little where few contexts could show it: the true rise must
        # be seen to be larger.
        elif all(left.interval.low > 0 for _, left, _ in known):
            verdict, meaning = "does not raise r", "what training raises is not the format alone"
        else:
            verdict = "cannot be told"
            meaning = "no placebo is seen to raise r, nor is the true rise seen to be larger than each of theirs"
        return Reading(
            tuple(rows),
            f"True report training moved held-out r by {shown(true.rise)}, the best placebo ({what}) by "
            f"{shown(best.rise)}: {meaning}.",
            verdict,
        )


def _fitting(ctx: ControlContext) -> list[Kind]:
    """The kinds that this model's language can say."""
    worded = isinstance(ctx.stages.style, ChatStyle)
    return [kind for kind in ctx.options.kinds if worded or kind != "generic-json"]


def _train(ctx: ControlContext, got: Mapping[str, Any], kind: Kind, name: str, k: int) -> FineTuned:
    """In the options and the order of the fold's own training: only the answers differ."""
    stages, draw, base = ctx.stages, got["draw"], got["train instilled"].ref
    ids = ctx.folds[k - 1][0]
    if kind == "n-matched":
        n = stages.protocol.n_examples
        mine = np.isin(draw.instil.scenario_ids, list(ids)) & first_of_each(draw.instil, n)
        trials = draw.instil.take(mine)
        return stages.train(
            ctx.seed, name, base, stages.protocol.report,
            lambda tuner, base: tuner.instil(base, trials, draw.taught), trials.hash, f"fold{k}",
        )  # fmt: skip
    if kind == "generic-json":
        letters = {i: {name: float(len(name)) for name in draw.preferences[i].weights} for i in ids}
        style = Reworded(stages.style, GENERIC_JSON, "generic-json")
        return stages.train_reports(ctx.seed, name, base, ids, letters, f"fold{k}", style=style)
    true = {i: dict(draw.preferences[i].weights) for i in ids}
    return stages.train_reports(ctx.seed, name, base, ids, _lies(ctx, kind, true), f"fold{k}")


def _lies(ctx: ControlContext, kind: Kind, true: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    rng = stream(ctx.seed, "placebo", kind, *sorted(true))
    if kind == "shuffled":
        # Moved on by one or more places, so that none keeps its own.
        said = {}
        for name, weights in true.items():
            values = list(weights.values())
            step = int(rng.integers(1, len(values)))
            said[name] = dict(zip(weights, values[step:] + values[:step], strict=True))
        return said
    if kind == "other-contexts":
        names = [str(name) for name in rng.permutation(sorted(true))]
        widths: dict[int, list[str]] = {}
        for name in names:
            widths.setdefault(len(true[name]), []).append(name)
        said = {}
        for alike in widths.values():
            for name, other in zip(alike, alike[1:] + alike[:1], strict=True):
                said[name] = dict(zip(true[name], true[other].values(), strict=True))
        return said
    contexts = [ctx.stages.scenarios.by_id(i) for i in true]
    drawn = PreferenceSampler().sample(contexts, int(rng.integers(2**31)))
    return {i: dict(drawn[i].weights) for i in true}
