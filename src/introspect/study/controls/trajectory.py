"""Trajectory: what is chosen and what is said as instilling goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from introspect.backend.wire import ModelRef
from introspect.measure import pair
from introspect.study.controls.base import ControlContext, Reading, Row, plain, shown
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section
from introspect.training import FineTuned

__all__ = ["Trajectory"]


class _Options(Section):
    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=(0.25, 0.5), min_length=1)


class Trajectory:
    """Behaviour and reports after a share of the instilling steps.

    Each point is a training of that many steps with a schedule of its own, since no backend is asked to keep
    half-trained models; the last point is the study's own model.
    """

    word = "trajectory"
    question = "Do reports follow behaviour as it is learned?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model that can be trained."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Per share: a shorter training, its choices, its reports."""
        stages, seed = ctx.stages, ctx.seed
        nodes: list[Node] = []
        for share in ctx.options.shares:
            name = f"trajectory {share:g}"

            def train(got: Mapping[str, Any], name: str = name, share: float = share) -> FineTuned:
                draw, spec = got["draw"], stages.protocol.instil
                steps = max(1, round(share * spec.steps(len(draw.instil))))
                return stages.train(
                    seed, name, stages.model, spec.model_copy(update={"max_steps": steps}),
                    lambda tuner, base: tuner.instil(base, draw.instil, draw.taught), draw.instil.hash,
                    "instilled",
                )  # fmt: skip

            made = f"train {name}"
            nodes += [Node(made, ("draw",), train), ctx.choices_of(name, made), ctx.reports_of(name, made)]
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """At each point: r of the choices with the target, and of the reports with the choices."""
        target = {k: dict(v.weights) for k, v in ctx.seed_data.draw.preferences.items()}
        rows: list[Row] = []
        points = [(s, f"trajectory {s:g}") for s in sorted(ctx.options.shares)] + [(1.0, "instilled")]
        for share, name in points:
            weights = ctx.stages.estimator.fit(got[f"{name}: choices"])
            followed = pair(target, weights).moments.pooled()
            rows.append(
                ctx.row(
                    f"after {share:.0%} of the steps", got[f"{name}: reports"], weights, x=share,
                    learned_vs_target_r=plain(followed),
                )
            )  # fmt: skip
        first, last = rows[0], rows[-1]
        return Reading(
            tuple(rows),
            f"From {first['x']:.0%} of the steps on to all of them, choices go from r = "
            f"{shown(first['learned_vs_target_r'])} to {shown(last['learned_vs_target_r'])} with the target, and "
            f"reports from {shown(first['r'])} to {shown(last['r'])} with the choices.",
        )
