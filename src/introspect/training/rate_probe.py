"""Choosing a learning rate by short trainings, on held-out choices and on nothing else."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

from pydantic import ConfigDict

from introspect._checked import Checked
from introspect.backend.training import TrainingSpec
from introspect.errors import TrainingError

__all__ = ["RateTrial", "best_rate", "probe_rates"]

FACTORS = (0.25, 1.0, 4.0)
"""Rates that are tried, as multiples of the spec's."""

SHARE, FEWEST_STEPS = 0.2, 20
"""Part of a training that each rate gets, and its fewest gradient steps."""


class RateTrial(Checked):
    """What a short training at one learning rate came to.

    Attributes:
        rate: Peak learning rate.
        steps: Gradient steps.
        accuracy: Share of held-out choices that follow the label; None where training failed.
        log_loss: Mean of -log P(right letter), among the letters; decides between equal accuracies. None where the
            model gives no probabilities.
        problem: Why training failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float
    steps: int
    accuracy: float | None = None
    log_loss: float | None = None
    problem: str | None = None


async def probe_rates(
    spec: TrainingSpec,
    n_examples: int,
    attempt: Callable[[TrainingSpec], Awaitable[tuple[float, float | None]]],
    factors: Sequence[float] = FACTORS,
) -> tuple[RateTrial, ...]:
    """Try each rate in a short training.

    Args:
        spec: Whose rate is varied, and whose length a fifth is trained of.
        n_examples: Examples that are trained on.
        attempt: Trains so and returns held-out (accuracy, log loss).
        factors: Multiples of the spec's rate.
    """
    steps = min(spec.steps(n_examples), max(FEWEST_STEPS, round(SHARE * spec.steps(n_examples))))
    tried = []
    for factor in factors:
        rate = spec.learning_rate * factor
        short = spec.model_copy(update={"learning_rate": rate, "max_steps": steps})
        try:
            accuracy, loss = await attempt(short)
            tried.append(RateTrial(rate=rate, steps=steps, accuracy=accuracy, log_loss=loss))
        except TrainingError as error:  # a rate at which the loss is no number is not the best one
            tried.append(RateTrial(rate=rate, steps=steps, problem=str(error)))
    return tuple(tried)


def best_rate(tried: Sequence[RateTrial], n: int) -> float:
    """The rate with the highest held-out choice accuracy; among those within one standard error, the lowest log loss.

    Short trainings mostly end before the choices do: where accuracies cannot be told apart, how probable the right
    letters are can.

    Args:
        tried: Short trainings.
        n: Held-out choices that each was judged by.

    Raises:
        TrainingError: None of them worked.

    Example:
        >>> best_rate([RateTrial(rate=1e-4, steps=9, accuracy=0.55, log_loss=0.69),
        ...            RateTrial(rate=4e-4, steps=9, accuracy=0.54, log_loss=0.60)], n=60)
        0.0004
    """
    worked = [t for t in tried if t.accuracy is not None]
    if not worked:
        raise TrainingError(
            "no learning rate of the probe could be trained with: "
            + "; ".join(f"{t.rate:g}: {t.problem}" for t in tried)
        )
    top = max(t.accuracy or 0.0 for t in worked)
    error = math.sqrt(max(top * (1 - top), 0.05) / max(n, 1))
    close = [t for t in worked if (t.accuracy or 0.0) >= top - error]
    return min(close, key=lambda t: (math.inf if t.log_loss is None else t.log_loss, -(t.accuracy or 0.0), t.rate)).rate
