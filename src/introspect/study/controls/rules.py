"""Rules: do the choices follow weights, or a rule that no weights can follow?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from introspect._random import stream
from introspect.backend.wire import ModelRef
from introspect.decision.rules import agreement
from introspect.measure import compare_rules
from introspect.measure.rule_models import RuleComparison
from introspect.study.controls.base import ControlContext, Reading, Row, plain, shown
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section

__all__ = ["Rules"]


class _Options(Section):
    folds: int = Field(default=5, ge=2)


class Rules:
    """Each rule's own estimator fitted to the instilled model's choices, and scored on choices held out.

    Where the protocol instils a rule (`draw.rule`), the fitted rule is held against it: in how many random pairs do
    they take the same option, and in how many do the weights that come closest?
    """

    word = "rules"
    question = "Which rule do the choices follow?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """None: the study has the choices."""
        return ()

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """Held-out score of each rule, the contexts in which it is the best, and how close it is to what was taught."""
        draw, taught = ctx.seed_data.draw, ctx.stages.protocol.rule
        found = compare_rules(ctx.seed_data.choices["instilled"], rng=ctx.seed, n_folds=ctx.options.folds)
        if not found.fits:
            return Reading((), "No context had choices that rules could be fitted to.")
        rows: list[Row] = []
        for row in found.table():
            share = math.exp(row["held_out"])
            close = _close(ctx, found, str(row["rule"]))
            note = f"foretells {share:.2f} of a held-out choice, best in {row['best_in']} of {row['scenarios']}"
            note += f", agrees with what was taught in {close:.0%} of pairs" if math.isfinite(close) else ""
            rows.append(
                {
                    "condition": f"{row['rule']}{' (taught)' if row['rule'] == taught else ''}", "note": note,
                    "value": plain(share), "lead": plain(row["lead"]), "lead_se": plain(row["lead_se"]),
                    "best_in": row["best_in"], "agreement": plain(close),
                }
            )  # fmt: skip
        best = max(rows, key=lambda row: (row["best_in"], -1.0 if row["value"] is None else row["value"]))
        name = str(best["condition"]).removesuffix(" (taught)")
        text = (
            f"A {taught} rule was taught; the choices are foretold best by a {name} rule, in {best['best_in']} of "
            f"{len(found.fits)} contexts."
        )
        if draw.rules is not None:
            own = next(row for row in rows if str(row["condition"]).endswith("(taught)"))
            between = _closest(ctx)
            text += (
                f" The fitted {taught} rule agrees with the taught one in {shown(own['agreement'], '.0%')} of random "
                f"pairs; the weights that come closest to the taught rule do in {between:.0%}."
            )
        return Reading(tuple(rows), text, "as taught" if name == taught else "another rule")


def _close(ctx: ControlContext, found: RuleComparison, kind: str) -> float:
    """Mean agreement of the fitted rules with what was taught, over contexts."""
    taught, rng = ctx.seed_data.draw.taught, stream(ctx.seed, "rules", "agreement")
    seed = int(rng.integers(2**31))
    fitted = found.rules(kind)
    each = [agreement(fitted[i], taught[i], ctx.stages.scenarios.by_id(i), seed, 1000) for i in found.fits]
    return float(np.mean(each))


def _closest(ctx: ControlContext) -> float:
    draw = ctx.seed_data.draw
    each = [agreement(draw.preferences[s.id], draw.taught[s.id], s, ctx.seed, 1000) for s in ctx.stages.scenarios]
    return float(np.mean(each))
