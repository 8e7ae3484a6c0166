"""Did instilling take? Decided on held-out choices alone; and if not, why, likeliest cause first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect._notebook import InNotebook
from introspect.training.canary import Canary

__all__ = ["Cause", "Verdict", "judge"]

TOOK, FAILED = 0.75, 0.6
"""Held-out choice accuracy from which instilling took, and below which it failed (of two options)."""

ONE_SIDED, ONLY_SIDED = 0.8, 0.95
"""Share of one letter beyond which a model did not take, and beyond which it chose nothing but a letter."""

_TOLD = 0.25  # causes less likely than this are not worth a sentence
_EVEN = 0.65  # share of the commonest letter up to which answers are not called one-sided
_FEW = 100  # examples per context; all recorded runs that took had more


class Cause(Checked):
    """Why instilling may have failed.

    Attributes:
        name: "one-sided answers", "template mismatch", "learning rate", "too few examples" or "base model already
            decided".
        weight: How strongly what was seen speaks for it, 0 to 1. A ranking, not a probability.
        evidence: What was seen.
        advice: What to try.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weight: float = Field(ge=0, le=1)
    evidence: str
    advice: str


class Verdict(InNotebook, Checked):
    """Whether instilling took, on choices that were not trained on.

    Attributes:
        status: "took": accuracy at least .75 and no letter in more than 80 % of the choices. "failed": accuracy below
            .6 or not above chance, or one letter in 95 %. "weak": between.
        n: Held-out trials with a label; what got no readable answer counts as wrong.
        accuracy: Share of choices that follow the label; None without such trials.
        low: Lower end of the Wilson 95 % interval of it.
        high: Upper end.
        one_sided: Share of the commonest letter among the choices made; None where none was.
        accuracy_before: The same accuracy of the base; None where it was not asked.
        causes: What may have gone wrong, likeliest first.

    Example:
        >>> right, wrong = [0, 1] * 40, [0] * 80
        >>> judge(right, right).status, judge(wrong, right).status, judge(wrong, right).causes[0].name
        ('took', 'failed', 'one-sided answers')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["took", "weak", "failed"]
    n: int
    accuracy: float | None
    low: float | None
    high: float | None
    one_sided: float | None
    accuracy_before: float | None = None
    causes: tuple[Cause, ...] = ()

    @property
    def flag(self) -> str:
        """What stands beside every figure that rests on this model; empty where it took."""
        return "" if self.status == "took" else f"instilling {self.status}"

    def sentences(self) -> tuple[str, ...]:
        """The verdict, and each cause with what to try."""
        before = "" if self.accuracy_before is None else f", {self.accuracy_before:.0%} before"
        if self.accuracy is None or self.low is None or self.high is None:
            head = f"Instilling {self.status}: no held-out choice has a label to be held against."
        else:
            head = (
                f"Instilling {self.status}: {self.accuracy:.0%} of {self.n} held-out choices follow the target "
                f"(95 % interval {self.low:.0%} to {self.high:.0%}{before}); "
            )
            none = "none was readable."
            head += none if self.one_sided is None else f"the commonest letter has {self.one_sided:.0%}."
        return (head, *(f"{k}. {c.name}: {c.evidence}. Try: {c.advice}." for k, c in enumerate(self.causes, 1)))


def judge(
    chosen: ArrayLike,
    label: ArrayLike,
    *,
    n_options: int = 2,
    before: ArrayLike | None = None,
    outside: float = math.nan,
    canary: Canary | None = None,
    losses: Sequence[float] = (),
    per_context: float = math.nan,
) -> Verdict:
    """Decide whether instilling took.

    Args:
        chosen: The tuned model's choice on each held-out trial, -1 for none; [n].
        label: What the target would choose, -1 where it has no opinion; [n].
        n_options: Options of a trial.
        before: The base's choices on the same trials.
        outside: Mean probability that the tuned model gave to anything but an option's letter.
        canary: What both models said to training prompts.
        losses: Loss by gradient step.
        per_context: Training examples for each context.
    """
    target = np.asarray(label)
    known = target >= 0
    picks, target = np.asarray(chosen)[known], target[known]
    n = len(target)
    accuracy = float((picks == target).mean()) if n else math.nan
    made = picks[picks >= 0]
    one_sided = float(np.bincount(made).max() / len(made)) if len(made) else math.nan
    base = None if before is None else np.asarray(before)[known]
    accuracy_before = None if base is None or not n else float((base == target).mean())
    low, high = _wilson(accuracy, n)
    chance = 1 / n_options
    scale = (1 - chance) / 0.5  # the bounds are those of two options; others keep their distance from chance
    took, failed = chance + (TOOK - 0.5) * scale, chance + (FAILED - 0.5) * scale
    status: Literal["took", "weak", "failed"] = "weak"
    if not n or not len(made) or accuracy < failed or low <= chance or one_sided >= ONLY_SIDED:
        status = "failed"
    elif accuracy >= took and one_sided <= ONE_SIDED:
        status = "took"
    seen = _Seen(status, accuracy, accuracy_before, one_sided, picks, base, outside, canary, losses, per_context, took)
    causes = [cause for look in _LOOKS if (cause := look(seen)) is not None and cause.weight >= _TOLD]
    if not causes and (cause := _unlearned(seen)) is not None:
        causes.append(cause)
    return Verdict(
        status=status,
        n=n,
        accuracy=_known(accuracy),
        low=_known(low),
        high=_known(high),
        one_sided=_known(one_sided),
        accuracy_before=accuracy_before,
        causes=tuple(sorted(causes, key=lambda cause: -cause.weight)),
    )


class _Seen:
    """Everything that causes are looked for in."""

    def __init__(
        self,
        status: str,
        accuracy: float,
        before: float | None,
        one_sided: float,
        picks: NDArray[np.int_],
        base: NDArray[np.int_] | None,
        outside: float,
        canary: Canary | None,
        losses: Sequence[float],
        per_context: float,
        took: float,
    ) -> None:
        self.status, self.accuracy, self.before, self.one_sided = status, accuracy, before, one_sided
        self.picks, self.base, self.outside, self.canary, self.per_context = picks, base, outside, canary, per_context
        self.took_from = took
        known = np.array([loss for loss in losses if loss is not None], dtype=float)
        part = max(1, len(known) // 10)
        self.first, self.last = (
            (float(known[:part].mean()), float(known[-part:].mean())) if len(known) >= 4 else (math.nan, math.nan)
        )
        self.least = (
            float(min(known[k : k + part].mean() for k in range(0, len(known) - part + 1, part)))
            if len(known) >= 4
            else math.nan
        )


def _sided(seen: _Seen) -> Cause | None:
    if seen.status == "took" or not seen.one_sided > _EVEN:
        return None
    return Cause(
        name="one-sided answers",
        weight=_share((seen.one_sided - 0.6) / 0.35),
        evidence=f"one letter in {seen.one_sided:.0%} of the choices",
        advice="more steps (small models learn the letter first, and for some hundred examples look like failure); "
        "each training pair in both orders",
    )


def _template(seen: _Seen) -> Cause | None:
    canary = seen.canary
    if seen.status == "took":
        return None
    advice = "ask with the template that was trained with (the parity check of the local trainer proves it), and look "
    advice += "at one training prompt and one question as tokens"
    if canary is not None and canary.indistinguishable and not canary.already_right:
        return Cause(
            name="template mismatch",
            weight=0.95,
            evidence="the tuned model answers exactly as its base: what was trained is not what is asked",
            advice=advice + "; see that the adapter is loaded",
        )
    if canary is not None and seen.last < 0.5 * seen.first and seen.last < 0.3 and canary.accuracy_after < 0.65:
        return Cause(
            name="template mismatch",
            weight=0.9,
            evidence=f"the loss fell to {seen.last:.2f}, but asked about its training prompts the model is right in "
            f"{canary.accuracy_after:.0%}",
            advice=advice,
        )
    if seen.outside > 0.5:
        return Cause(
            name="template mismatch",
            weight=0.6,
            evidence=f"{seen.outside:.0%} of the probability lies on something else than an option's letter",
            advice=advice,
        )
    return None


def _rate(seen: _Seen) -> Cause | None:
    if seen.status == "took" or not math.isfinite(seen.first):
        return None
    probe = 'FineTuner(lr="probe")'
    if seen.last > 1.3 * seen.least and seen.last > 0.4:
        return Cause(
            name="learning rate",
            weight=0.8,
            evidence=f"the loss rose again, from {seen.least:.2f} to {seen.last:.2f}",
            advice=f"a rate 4 times lower, or {probe}",
        )
    if seen.last <= 0.85 * seen.first:
        return None
    still = seen.canary is not None and (seen.canary.logprob_change or math.inf) < 0.3
    return Cause(
        name="learning rate",
        weight=0.75 if still else 0.6,
        evidence=f"the loss hardly fell, from {seen.first:.2f} to {seen.last:.2f}"
        + (" and the answers hardly moved" if still else ""),
        advice=f"{'a rate 4 times higher' if still else 'a rate 4 times higher, and one 4 times lower'}, or {probe}",
    )


def _examples(seen: _Seen) -> Cause | None:
    canary = seen.canary
    if seen.status == "took":
        return None
    gap = math.nan if canary is None or canary.kind != "choice" else canary.accuracy_after - seen.accuracy
    if canary is not None and gap >= 0.15 and canary.accuracy_after >= 0.75:
        return Cause(
            name="too few examples",
            weight=_share(gap / 0.3),
            evidence=f"right in {canary.accuracy_after:.0%} of the training prompts and in {seen.accuracy:.0%} of new "
            "ones: the pairs were learned by heart",
            advice="more fresh pairs and fewer epochs",
        )
    if seen.per_context < _FEW:
        return Cause(
            name="too few examples",
            weight=0.5,
            evidence=f"{seen.per_context:.0f} examples for each context",
            advice=f"{_FEW} to 800 fresh pairs for each context",
        )
    return None


def _unlearned(seen: _Seen) -> Cause | None:
    """What is left where nothing else was seen: the letter is learned, and which one is not."""
    if seen.status == "took" or not seen.one_sided <= _EVEN:
        return None
    had = f"{seen.per_context:.0f} examples for each context" if math.isfinite(seen.per_context) else "the examples"
    return Cause(
        name="too few examples",
        weight=0.3,
        evidence=f"both letters are given, the commonest in {seen.one_sided:.0%}, and after {had} they follow the "
        f"target in {seen.accuracy:.0%}",
        advice="several times as many; fewer contexts at once, so that each is seen more often; pairs of extremes, "
        "which tell most (TrialGenerator(design='d-optimal')), in both orders (trials.mirrored())",
    )


def _decided(seen: _Seen) -> Cause | None:
    if seen.base is None or seen.before is None:
        return None
    advice = "made-up contexts, in which the model has no opinion of its own, or targets drawn against it"
    if seen.before >= seen.took_from:
        return Cause(
            name="base model already decided",
            weight=0.9,
            evidence=f"the base already follows the target in {seen.before:.0%}: there was little to instil",
            advice=advice,
        )
    made = seen.base[seen.base >= 0]
    sided = np.bincount(made).max() / len(made) if len(made) else 1.0
    same = float((seen.base == seen.picks).mean()) if len(seen.picks) else math.nan
    if seen.status == "took" or sided > ONE_SIDED or same < 0.8:
        return None
    return Cause(
        name="base model already decided",
        weight=0.85 * _share((same - 0.5) / 0.5),
        evidence=f"{same:.0%} of the choices are still the base's own",
        advice=advice + "; or more examples",
    )


_LOOKS: tuple[Callable[[_Seen], Cause | None], ...] = (_sided, _template, _rate, _examples, _decided)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's interval of a share at 95 %."""
    if not n:
        return math.nan, math.nan
    z = 1.959964
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
