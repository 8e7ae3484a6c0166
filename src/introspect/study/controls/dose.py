"""Dose: what more or less of each thing does to held-out r."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from introspect.backend.wire import ModelRef
from introspect.measure import ReportTable
from introspect.study.controls.base import ControlContext, Reading, Row, shown
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section
from introspect.training import FineTuned

__all__ = ["Dose"]

Axis = Literal["examples", "epochs", "steps", "contexts", "reports"]


class _Options(Section):
    axes: tuple[Axis, ...] = Field(default=("examples", "epochs", "steps", "contexts", "reports"), min_length=1)
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(0.25, 0.5, 1.0), min_length=1)
    examples: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 2, 4), min_length=1)


class Dose:
    """Report training with a share of its epochs, steps or contexts, with more examples, and with fewer reports.

    All on the first fold and its held-out contexts. `shares` are of the protocol's own epochs, steps, contexts and
    reports; `examples` are examples per context.
    """

    word = "dose"
    question = "What does more or less report training, and more or fewer reports, do to held-out r?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model that can be trained."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Per axis and point but the study's own: a training, and reports on the first fold's held-out contexts."""
        nodes: list[Node] = []
        train, test = ctx.folds[0]
        for axis, point in _points(ctx):
            if axis == "reports" or _own(ctx, axis, point):
                continue
            name = f"dose {axis} {point:g}"

            def teach(got: Mapping[str, Any], axis: Axis = axis, point: float = point, name: str = name) -> FineTuned:
                return _train(ctx, got, axis, point, name, train)

            nodes.append(Node(f"train {name}", ("train instilled", "draw"), teach))
            nodes.append(ctx.reports_of(name, f"train {name}", test))
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """Held-out r at each point of each axis."""
        _, test = ctx.folds[0]
        own: ReportTable = got["fold1: reports"].select(test)
        rows: list[Row] = []
        said = []
        for axis in ctx.options.axes:
            mine: list[Row] = []
            for other, point in _points(ctx):
                if other != axis:
                    continue
                if axis == "reports":
                    number = max(1, round(point * ctx.stages.protocol.n_reports))
                    mine.append(ctx.row(f"{axis}: {number}", _fewer(own, number), axis=axis, x=number))
                    continue
                reports = own if _own(ctx, axis, point) else got[f"dose {axis} {point:g}: reports"]
                label = f"{point:g} a context" if axis == "examples" else f"{point:.0%}"
                mine.append(ctx.row(f"{axis}: {label}", reports, axis=axis, x=point))
            rows += mine
            said.append(f"{axis} {shown(mine[0]['r'])} to {shown(mine[-1]['r'])}")
        return Reading(tuple(rows), f"Held-out r from the smallest to the largest dose: {', '.join(said)}.")


def _points(ctx: ControlContext) -> list[tuple[Axis, float]]:
    return [
        (axis, point)
        for axis in ctx.options.axes
        for point in sorted(ctx.options.examples if axis == "examples" else ctx.options.shares)
    ]


def _own(ctx: ControlContext, axis: Axis, point: float) -> bool:
    """Whether this is what the study does anyway."""
    return point == (ctx.stages.protocol.n_examples if axis == "examples" else 1.0)


def _train(
    ctx: ControlContext, got: Mapping[str, Any], axis: Axis, point: float, name: str, ids: Sequence[str]
) -> FineTuned:
    stages, spec, n = ctx.stages, ctx.stages.protocol.report, ctx.stages.protocol.n_examples
    if axis == "examples":
        n = int(point)
    elif axis == "epochs":
        spec = spec.model_copy(update={"epochs": max(1, round(point * spec.epochs))})
    elif axis == "steps":
        spec = spec.model_copy(update={"max_steps": max(1, round(point * spec.steps(n * len(ids))))})
    else:
        ids = ids[: max(2, round(point * len(ids)))]
    base, targets = got["train instilled"].ref, got["draw"].preferences
    return stages.train_reports(ctx.seed, name, base, ids, targets, "fold1", n, spec)


def _fewer(table: ReportTable, number: int) -> dict[str, dict[str, float]]:
    """Means of the first few usable reports of each context."""
    means = {}
    for name in dict.fromkeys(table.scenario_ids):
        reports = table.reports(name)[:number]
        if reports:
            means[name] = {k: float(np.mean([r[k] for r in reports])) for k in reports[0]}
    return means
