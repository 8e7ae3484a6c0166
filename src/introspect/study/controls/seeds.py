"""Seeds of training: the same lessons in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from introspect.backend.wire import ModelRef
from introspect.study.controls.base import ControlContext, Reading, Row, shown
from introspect.study.controls.twins import twin_nodes
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section

__all__ = ["Seeds"]


class _Options(Section):
    n: int = Field(default=3, ge=2, le=20)


class Seeds:
    """How much r hangs on the order of training alone: the same preferences, choices and reports, taught anew."""

    word = "seeds"
    question = "How much does r hang on the order of the training examples?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model that can be trained."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """One twin for every order but the study's own."""
        return [node for k in range(1, ctx.options.n) for node in twin_nodes(ctx, k)]

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """Held-out r of each, against its own weights."""
        rows: list[Row] = [ctx.row("the study's own order", ctx.held_out(got, "fold"))]
        for k in range(1, ctx.options.n):
            weights = ctx.stages.estimator.fit(got[f"twin{k}: choices"])
            rows.append(ctx.row(f"another order, {k}", ctx.held_out(got, f"twin{k} fold"), weights))
        values = [float(row["r"]) for row in rows if isinstance(row["r"], float)]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        return Reading(
            tuple(rows),
            f"Held-out r has a standard deviation of {shown(spread, '.2f')} over {len(values)} orders of training "
            "(same preferences, same choices): intervals over contexts alone leave this out.",
        )
