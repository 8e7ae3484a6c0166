"""Temperature of the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from introspect.backend.wire import ModelRef
from introspect.study.controls.base import ControlContext, Reading, shown
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section

__all__ = ["Temperature"]


class _Options(Section):
    points: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        default=(0.0, 0.5, 1.0), min_length=1
    )


class Temperature:
    """Held-out reports sampled at several temperatures: is what is reported in the mode of the answers alone?"""

    word = "temperature"
    question = "Do reports hold when they are sampled?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Reports of each fold's model at each temperature but the study's own."""
        stages, nodes = ctx.stages, []
        for t in ctx.options.points:
            if t == stages.protocol.report_temperature:
                continue
            probe = replace(stages.report_probe, temperature=t)
            for k, (_, test) in enumerate(ctx.folds, 1):
                name = f"temperature {t:g} {k}"
                nodes.append(ctx.reports_of(name, f"train fold{k}", test, probe))
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """Held-out r at each temperature."""
        own = ctx.stages.protocol.report_temperature
        rows = [
            ctx.row(f"temperature {t:g}", ctx.held_out(got, "fold" if t == own else f"temperature {t:g} "), x=t)
            for t in sorted({own, *ctx.options.points})
        ]
        first, last = rows[0], rows[-1]
        return Reading(
            tuple(rows),
            f"Held-out r goes from {shown(first['r'])} at temperature {first['x']:g} to {shown(last['r'])} at "
            f"{last['x']:g}, with {shown(last['coverage'], '.0%')} of the contexts usable there.",
        )
