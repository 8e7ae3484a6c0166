"""Untuned model: what could be said before anything was taught."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from introspect.backend.wire import ModelRef
from introspect.study.controls.base import ControlContext, Reading, shown
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section

__all__ = ["Untuned"]


class Untuned:
    """The untuned model reports on contexts in which it has no preference yet; its reports are what names give away."""

    word = "untuned"
    question = "Could the reports have been given before anything was taught?"
    Options = Section

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """None: the study asks the untuned model anyway."""
        return ()

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """r of the untuned model's reports, on instilled and on native contexts."""
        data = ctx.seed_data
        rows = [
            ctx.row("untuned", data.reports["untuned"]),
            ctx.row("choices instilled", data.reports["instilled"]),
        ]
        rise = ctx.rise(data.reports["untuned"], data.reports["instilled"])
        if "instilled" in data.native_weights and "untuned" in data.native_reports:
            rows.append(ctx.row("untuned, native", data.native_reports["untuned"], data.native_weights["instilled"]))
        if math.isnan(rise.interval.low):
            return Reading(tuple(rows), "Whether reports say more than names give away cannot be told: no interval.")
        low, high = shown(rise.interval.low), shown(rise.interval.high)
        verdict = "no" if rise.interval.low > 0 else "not excluded"
        meaning = "more than names give away" if verdict == "no" else "no more than names may give away"
        return Reading(
            tuple(rows),
            f"Instilling by choices alone moved r of the reports by {shown(rise.rise)} [{low}, {high}] from what the "
            f"untuned model says: {meaning}.",
            verdict,
        )
