"""An Accuracy in words: as sentences, and as a block for the eye."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from introspect.measure.baselines import BASELINES
from introspect.measure.ceiling import LOW_CEILING
from introspect.measure.resampling import Interval

if TYPE_CHECKING:
    from introspect.measure.accuracy import Accuracy
    from introspect.measure.partial import Partial

__all__ = ["sentences", "summary"]


def sentences(a: Accuracy) -> list[str]:
    """What was found, one thing a sentence; undefined parts with their reasons."""
    lines = []
    r = a.pooled_r
    if math.isfinite(r):
        text = f"Reports and learned weights correlate at r = {_short(r)} over {a.n_contexts} contexts"
        if math.isfinite(a.pooled_interval.low):
            low, high = a.pooled_interval
            text += f" (95 % interval over the contexts of this training run {low:.2f} to {high:.2f})"
        lines.append(text + ".")
    if math.isfinite(a.mean_within_r):
        lines.append(
            f"Inside a context r is {a.mean_within_r:.2f} on average and {a.median_within_r:.2f} "
            f"at the median, over the {a.n_within} contexts where it is defined."
        )
    lines += _noise(a)
    if math.isfinite(a.p):
        lone = f" {a.n_lone} contexts alone in their number of predictors kept their own." if a.n_lone else ""
        lines.append(
            f"Reports dealt out to other contexts reach r = {_short(a.shuffle_quantiles[1])} at the "
            f"median (p = {a.p_shuffle:.4f}), weights permuted inside each report "
            f"r = {_short(a.permutation_quantiles[1])} (p = {a.p_permutation:.4f}).{lone}"
        )
    if math.isfinite(a.baselines.margin):
        best = a.baselines.best
        lines.append(
            f"The best report that knows nothing of its context ({BASELINES[best]}) has r = "
            f"{_short(a.baselines.scores[best].r)}; the margin over it is {a.baselines.margin:+.2f}"
            f"{_span(a.baselines.margin_interval)}."
        )
    if math.isfinite(a.sign_agreement):
        ignored = f" ({a.n_signs_ignored} of unsure sign not counted)" if a.n_signs_ignored else ""
        lines.append(
            f"Signs agree for {a.sign_agreement:.0%} of the predictors{ignored}; the heaviest predictor is "
            f"named in {a.top_agreement:.0%} of the contexts."
        )
    if math.isfinite(a.calibration_slope):
        lines.append(
            f"Reports are off by {a.mae:.0f} of 100 on average; a reported difference of 10 stands for a learned one "
            f"of {10 * a.calibration_slope:.1f}{_span(_times(a.calibration_slope_interval, 10), '.1f')}."
        )
    lines += _given(a.partial, "the target", "Given the target, reports and learned weights")
    lines += _given(a.beyond_others, "the other reports", "Given the other reports, reports and learned weights")
    if a.n_undetected:
        lines.append(
            f"In {a.n_undetected} of the contexts choices show no preference at all; without these r is "
            f"{_short(a.detected_r) if math.isfinite(a.detected_r) else 'undefined'}."
        )
    lines.append(f"{a.n_contexts} of the {a.n_asked} contexts asked about could be scored.")
    lines += [f"Left out, {reason}: {len(ids)}." for reason, ids in a.dropped.items()]
    groups: dict[str, list[str]] = {}
    for name, why in a.doubts.items():
        groups.setdefault(why, []).append(name)
    return lines + [f"Undefined, {', '.join(names)}: {why}." for why, names in groups.items()]


def summary(a: Accuracy) -> str:
    """A block of a few aligned lines: the headline, what it rests on, and what bounds it."""
    rows: list[tuple[str, str]] = []
    if math.isnan(a.pooled_r):
        head = f"r is undefined: {a.reason('pooled_r')}"
    elif math.isnan(a.pooled_interval.low):
        head = f"r = {_value(a.pooled_r)} (no interval: {a.reason('pooled_interval')})"
    else:
        head = f"r = {_value(a.pooled_r)}{_span(a.pooled_interval)} (95 % over the contexts of this training run)"
    lost = "; ".join(f"{len(ids)} {reason}" for reason, ids in a.dropped.items())
    used = f"{a.n_reports_used} of {a.n_reports_used + a.n_reports_dropped} reports used"
    rows.append(("coverage", f"{a.n_contexts} of {a.n_asked} contexts{f' ({lost})' if lost else ''}, {used}"))
    c = a.ceiling
    if math.isfinite(c.weights) or math.isfinite(c.reports):
        text = f"{_value(c.total)} (weights {_value(c.weights)}, reports {_value(c.reports)})"
        rows.append(("ceiling", text + (", low: r mostly shows noise" if c.low else "")))
    if math.isfinite(c.disattenuated_r):
        both = f"; of both sides: {_value(c.disattenuated_both_r)}" if math.isfinite(c.disattenuated_both_r) else ""
        rows.append(
            ("noise taken out", f"of the weights: r {_value(c.disattenuated_r)}{_span(c.disattenuated_interval)}{both}")
        )
    if math.isfinite(a.p):
        rows.append(("nulls", f"p {a.p:.4f} (other contexts {a.p_shuffle:.4f}, permuted {a.p_permutation:.4f})"))
    if a.baselines.best:
        scores = ", ".join(f"{name} {_value(s.r)}" for name, s in a.baselines.scores.items() if math.isfinite(s.r))
        rows.append(("baselines", f"{scores}; margin {a.baselines.margin:+.2f}{_span(a.baselines.margin_interval)}"))
    if math.isfinite(a.mean_within_r):
        rows.append(
            ("inside contexts", f"r {_value(a.mean_within_r)} mean, {_value(a.median_within_r)} median; "
             f"rank {_value(a.mean_spearman)}, cosine {_value(a.mean_cosine)}")
        )  # fmt: skip
    if a.n_contexts:
        rows.append(
            ("hits", f"sign {_share(a.sign_agreement)}, heaviest {_share(a.top_agreement)}; "
             f"off by {a.mae:.0f} of 100; slope {_value(a.calibration_slope)}")
        )  # fmt: skip
    k = a.repeats
    if math.isfinite(k.averaging_gain):
        rows.append(("repeats", f"single {_value(k.single_r)}, mean of {k.n_repeats:.3g} {_value(k.averaged_r)}"))
    for label, part in (("given target", a.partial), ("beyond others", a.beyond_others)):
        if math.isfinite(part.r):
            rows.append((label, f"partial r {_value(part.r)}{_span(part.interval)}, p {part.p:.4f}"))
    if a.n_undetected:
        rows.append(("no preference", f"in {a.n_undetected} contexts; without them r {_value(a.detected_r)}"))
    if math.isfinite(a.tau):
        rows.append(
            ("choices", f"tau {a.tau:.2g}, {a.separated_share:.0%} separated, first position "
             f"{a.position_bias:+.2f} logits")
        )  # fmt: skip
    return "\n".join([head, *(f"  {name:<17}{text}" for name, text in rows)])


def _noise(a: Accuracy) -> list[str]:
    c, lines = a.ceiling, []
    sides = {"weights": c.weights, "reports": c.reports}
    known = {name: value for name, value in sides.items() if math.isfinite(value)}
    if known:
        warning = f", below {LOW_CEILING}: measure more before reading anything into a low r" if c.low else ""
        if math.isfinite(c.total):
            parts = ", ".join(f"{name} {value:.2f}" for name, value in known.items())
            lines.append(f"The noise of measuring caps r at about {c.total:.2f} ({parts}){warning}.")
        else:
            lines += [
                f"The noise of the {name} alone caps r at about {value:.2f}{warning}." for name, value in known.items()
            ]
    if math.isfinite(c.disattenuated_r):
        text = "Without the noise of the measured weights r would be "
        text += f"{c.disattenuated_r:.2f}{_span(c.disattenuated_interval)}"
        if math.isfinite(c.disattenuated_both_r):
            both, interval = c.disattenuated_both_r, c.disattenuated_both_interval
            text += f", without that of the reports too {both:.2f}{_span(interval)}"
        lines.append(text + ".")
    k = a.repeats
    if math.isfinite(k.averaging_gain):
        lines.append(
            f"A single report has r = {_short(k.single_r)}, "
            f"the average of {k.n_repeats:.3g} has {_short(k.averaged_r)}."
        )
    return lines


def _given(part: Partial, what: str, start: str) -> list[str]:
    if math.isnan(part.r):
        return []
    return [
        f"{start} have a partial r of {_short(part.r)}{_span(part.interval)}, p = {part.p:.4f} "
        f"(r with {what}: reports {_value(part.reported_r)}, learned weights {_value(part.learned_r)})."
    ]


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # never "-0.00"


def _value(value: float) -> str:
    return _short(value) if math.isfinite(value) else "-"


def _share(value: float) -> str:
    return f"{value:.0%}" if math.isfinite(value) else "-"


def _span(interval: Interval, form: str = ".2f") -> str:
    return f" [{interval.low:{form}}, {interval.high:{form}}]" if math.isfinite(interval.low) else ""


def _times(interval: Interval, factor: float) -> Interval:
    return Interval(interval.low * factor, interval.high * factor)
