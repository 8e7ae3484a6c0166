"""Learning rate over the run."""

from __future__ import annotations

from math import cos, pi

__all__ = ["rate_factor"]

_WARM_STEPS, _WARM_SHARE = 10, 0.1
_CYCLE_RISE, _CYCLE_START = 0.3, 1 / 25


def rate_factor(schedule: str, step: int, total: int) -> float:
    """Share of the peak learning rate at a step (0 is the first).

    "constant", "linear" and "cosine" warm up over a tenth of the run, ten steps at most; "one-cycle" rises over three
    tenths of it from 1/25 of the peak, then falls along a cosine.

    Example:
        >>> [round(rate_factor("one-cycle", step, 100), 2) for step in (0, 30, 65, 99)]
        [0.04, 1.0, 0.5, 0.0]
    """
    if schedule == "one-cycle":
        rise = _CYCLE_RISE * total
        if step < rise:
            return _CYCLE_START + (1 - _CYCLE_START) * (1 - cos(pi * step / rise)) / 2
        return (1 + cos(pi * (step - rise) / (total - rise))) / 2
    warm = max(1, min(_WARM_STEPS, int(_WARM_SHARE * total)))
    if step < warm:
        return (step + 1) / warm
    gone = (step - warm) / max(1, total - warm)
    if schedule == "linear":
        return 1 - gone
    if schedule == "cosine":
        return (1 + cos(pi * gone)) / 2
    return 1.0
