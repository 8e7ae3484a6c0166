"""Which of the published findings hold in a run, and what else could explain them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from introspect._notebook import html_lines
from introspect.measure import Interval

if TYPE_CHECKING:
    from introspect.study.result import StudyResult

__all__ = ["Claim", "claims_of"]

Standing = Literal["excluded", "open", "found"]

SMALLEST = 0.1
"""A difference of r that would still matter: where the interval covers 0 and reaches beyond, nothing was shown either
way. The published rises lie between .16 and .35."""


@dataclass(frozen=True)
class Claim:
    """One finding of arXiv 2505.17120 in this run.

    Attributes:
        finding: The finding.
        holds: "holds" where the interval lies above 0; "does not hold" where it covers 0, or lies below, and rules out
            an effect of `SMALLEST`; "cannot be told" where it is too wide for either, or there is none.
        effect: Its size, as a difference of r.
        interval: 95 %, over contexts of one training run or over seeds and contexts.
        alternative: The strongest other explanation that is not excluded yet; "" where the finding does not hold, or
            none is known here.
        standing: "open", or "found" where a control has found it to be so.
        control: What would exclude it: a control's word, or a setting in words.
        excluded: Other explanations that this run does exclude.
    """

    finding: str
    holds: Literal["holds", "does not hold", "cannot be told"]
    effect: float
    interval: Interval
    alternative: str = ""
    standing: Standing = "open"
    control: str = ""
    excluded: tuple[str, ...] = ()

    def __str__(self) -> str:
        size = "undefined" if math.isnan(self.effect) else f"{self.effect:+.2f}"
        span = f" [{self.interval.low:+.2f}, {self.interval.high:+.2f}]" if math.isfinite(self.interval.low) else ""
        text = f"{self.finding}: {self.holds} (effect on r {size}{span})."
        if self.excluded:
            text += f" Excluded: {'; '.join(self.excluded)}."
        if self.alternative and self.standing == "found":
            text += f" But the control {self.control!r} found that {self.alternative}."
        elif self.alternative:
            # Two of them are no controls but settings, and not one word.
            what = self.control if " " in self.control else f"the control {self.control!r}"
            text += f" Not excluded: {self.alternative}; {what} would tell."
        return text

    def _repr_html_(self) -> str:
        return html_lines("Claim", [str(self)])

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON; undefined is null."""
        low, high = self.interval
        return {
            "finding": self.finding, "holds": self.holds,
            "effect": self.effect if math.isfinite(self.effect) else None,
            "ci_low": low if math.isfinite(low) else None, "ci_high": high if math.isfinite(high) else None,
            "alternative": self.alternative, "standing": self.standing, "control": self.control,
            "excluded": list(self.excluded),
        }  # fmt: skip


def claims_of(result: StudyResult, verdicts: Mapping[str, str] | None = None) -> tuple[Claim, ...]:
    """The three findings: reports follow instilled weights; report training raises that on held-out contexts; and on
    native ones.

    Args:
        result: A study's result.
        verdicts: Word of a control -> what it found.
    """
    known = verdicts or {}
    rows = {str(row["name"]): row for row in result.arms}
    first = Claim("Reports follow instilled preferences", "cannot be told", math.nan, Interval.undefined())
    row = rows.get("instilled")
    if row is not None and isinstance(row["pooled_r"], float):
        low, high = row["ci_low"], row["ci_high"]
        span = Interval(low, high) if isinstance(low, float) and isinstance(high, float) else Interval.undefined()
        first = _claim(first.finding, row["pooled_r"], span)
    found = [(first, _REPORTS)]
    for name, finding, alternatives in (
        ("held-out", "Report training improves reports on contexts it did not touch", _TRAINING),
        ("native", "Report training improves reports on native preferences", _NATIVE),
    ):
        if name in result.rises:
            claim = _claim(finding, result.rises[name].estimate, result.rise_interval(name))
            found.append((claim, alternatives))
    return tuple(_explained(claim, alternatives, result, known) for claim, alternatives in found)


def _claim(finding: str, effect: float, interval: Interval) -> Claim:
    if math.isnan(interval.low):
        return Claim(finding, "cannot be told", effect, interval)
    if interval.low > 0:
        return Claim(finding, "holds", effect, interval)
    # An interval that covers 0 is no evidence of absence unless it is also narrow.
    return Claim(finding, "does not hold" if interval.high < SMALLEST else "cannot be told", effect, interval)


_Judge = Callable[["StudyResult", Mapping[str, str]], Standing]


def _by_verdict(word: str, good: str, bad: str) -> _Judge:
    def judge(_: StudyResult, verdicts: Mapping[str, str]) -> Standing:
        return {good: "excluded", bad: "found"}.get(verdicts.get(word, ""), "open")  # type: ignore[return-value]

    return judge


def _untuned(result: StudyResult, _: Mapping[str, str]) -> Standing:
    """The whole interval of what is left beyond the untuned model's reports must lie above 0."""
    row = next((r for r in result.arms if r["name"] == "instilled"), None)
    return _above(row, "beyond_untuned_low")


def _native_untuned(result: StudyResult, _: Mapping[str, str]) -> Standing:
    return _above(next((r for r in result.arms if r["name"] == "native-after"), None), "beyond_untuned_low")


def _above(row: Mapping[str, JsonValue] | None, field: str) -> Standing:
    low = row.get(field) if row is not None else None
    return "excluded" if isinstance(low, float) and low > 0 else "open"


def _dragged(where: str) -> _Judge:
    """The rise is against weights measured before report training; those measured after it must be the same ones
    (r above .9 in every seed).
    """

    def judge(result: StudyResult, _: Mapping[str, str]) -> Standing:
        rows = {str(r["name"]): r for r in result.arms}
        after = rows.get("report-trained, weights after" if where == "held-out" else "native-after, weights after")
        drift = [s.drift.get(where) for s in result.seeds]
        if after is None or not all(isinstance(d, float) and d > 0.9 for d in drift):
            return "open"
        return "excluded"

    return judge


def _several(result: StudyResult, _: Mapping[str, str]) -> Standing:
    return "excluded" if len(result.seeds) >= 5 else "open"


_RECITES = (
    "reports recite what was once taught and do not follow behaviour",
    "grounding",
    _by_verdict("grounding", "reads", "recites"),
)
_OUTSIDER = (
    "an outsider that saw the same choices could say as much",
    "privileged",
    _by_verdict("privileged", "privileged", "no margin"),
)
_FORMAT = (
    "training repairs the format of reports, whatever they say",
    "placebo",
    _by_verdict("placebo", "does not raise r", "raises r"),
)
_ONE_RUN = ("it hangs on this training run", "five seeds or more", _several)

_Alternatives = Sequence[tuple[str, str, _Judge]]
_REPORTS: _Alternatives = (
    ("the weights can be guessed from names, as the untuned model guesses them", "untuned", _untuned),
    _RECITES, _OUTSIDER, _ONE_RUN,
)  # fmt: skip
_TRAINING: _Alternatives = (
    _FORMAT,
    ("behaviour moved towards the reports", "choices measured again after report training", _dragged("held-out")),
    _RECITES, _OUTSIDER, _ONE_RUN,
)  # fmt: skip
_NATIVE: _Alternatives = (
    ("the weights can be guessed from names, as the untuned model guesses them", "common-sense", _native_untuned),
    _FORMAT,
    ("behaviour moved towards the reports", "choices measured again after report training", _dragged("native")),
    _OUTSIDER, _ONE_RUN,
)  # fmt: skip


def _explained(claim: Claim, alternatives: _Alternatives, result: StudyResult, verdicts: Mapping[str, str]) -> Claim:
    """The claim with its strongest other explanation: one that a control found, else the first that is open.

    What does not hold needs no other explanation.
    """
    if claim.holds != "holds":
        return claim
    standing = [(text, control, judge(result, verdicts)) for text, control, judge in alternatives]
    excluded = tuple(text for text, _, state in standing if state == "excluded")
    left = [s for s in standing if s[2] == "found"] or [s for s in standing if s[2] == "open"]
    text, control, state = left[0] if left else ("", "", "excluded")
    return Claim(
        claim.finding, claim.holds, claim.effect, claim.interval, text, state, control, excluded
    )  # fmt: skip
