"""What a score rests on: the reports that were used, and the choices behind the learned weights."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from introspect.measure.accuracy import NOT_GIVEN
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.moments import Moments
from introspect.measure.pairing import Pairing, WeightsLike
from introspect.measure.report_table import ReportTable

__all__ = ["choices_behind", "reports_used"]


def reports_used(reports: WeightsLike, pairing: Pairing, reasons: dict[str, str]) -> dict[str, Any]:
    """Single reports used and not used, by field of Accuracy. A mapping counts as one report per context."""
    if not isinstance(reports, ReportTable):
        reasons["response_rate"] = NOT_GIVEN["reports"]
        lost = {reason: len(ids) for reason, ids in pairing.dropped.items()}
        return {
            "response_rate": math.nan,
            "n_reports_used": len(pairing),
            "n_reports_dropped": sum(lost.values()),
            "reports_dropped": lost,
        }
    if not len(reports):
        reasons["response_rate"] = NOT_GIVEN["reports"]
    scored = np.isin(np.array(reports.scenario_ids, dtype=object), list(pairing.ids))
    on_scored = scored[reports.scenario_index] if len(reports) else np.empty(0, bool)
    lost = dict(Counter(reports.status[~reports.valid].tolist()).most_common())
    unscored = int((reports.valid & ~on_scored).sum())
    if unscored:
        lost["usable, context not scored"] = unscored
    return {
        "response_rate": reports.response_rate,
        "n_reports_used": int((reports.valid & on_scored).sum()),
        "n_reports_dropped": sum(lost.values()),
        "reports_dropped": lost,
    }


def choices_behind(pairing: Pairing, weights: WeightsLike, reasons: dict[str, str]) -> dict[str, Any]:
    """What is known about the choices that the weights were fitted to, over the scored contexts."""
    if not isinstance(weights, LearnedWeights) or not len(pairing):
        why = "no context could be scored" if isinstance(weights, LearnedWeights) else NOT_GIVEN["weights"]
        reasons |= dict.fromkeys(("detected_r", "separated_share", "position_bias", "tau"), why)
        return {}
    rows = [weights.index(name) for name in pairing.ids]
    detected = np.array(["undetected" not in weights.flags[i] for i in rows])
    lean = [weights.intercept[i][0] for i in rows if len(weights.intercept[i])]
    detected_r = Moments(pairing.ids, pairing.moments.sums[detected]).pooled()
    if math.isnan(detected_r):
        reasons["detected_r"] = (
            "no context with a detectable preference is left"
            if not detected.any()
            else ("one side does not vary at all")
        )
    if not lean:
        reasons["position_bias"] = "the fit has no side intercept"
    return {
        "detected_r": detected_r,
        "n_undetected": int(np.count_nonzero(~detected)),
        "separated_share": float(np.mean(["separated" in weights.flags[i] for i in rows])),
        "position_bias": float(np.mean(lean)) if lean else math.nan,
        "tau": float(weights.tau),
    }
