from __future__ import annotations

import pytest

from introspect.backend.local.schedule import rate_factor


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "one-cycle"])
@pytest.mark.parametrize("total", [1, 2, 7, 100])
def test_the_rate_is_positive_and_never_above_its_peak(schedule, total):
    factors = [rate_factor(schedule, step, total) for step in range(total)]
    assert all(0 < f <= 1 for f in factors)
    assert max(factors) > 0.9 or total < 4


@pytest.mark.parametrize("schedule", ["linear", "cosine", "one-cycle"])
def test_the_rate_rises_once_and_falls_once(schedule):
    factors = [rate_factor(schedule, step, 100) for step in range(100)]
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] < 0.05
