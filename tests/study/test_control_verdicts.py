"""A control says no more than its intervals show."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from introspect.decision import ChatStyle
from introspect.measure import Interval
from introspect.study.claims import claims_of
from introspect.study.controls import control, disposition

Told = tuple[float, float, float]


def context(rises: Mapping[tuple[str, str], Told], **options: Any) -> SimpleNamespace:
    """What a control reads, with given rises from one set of reports to another."""

    def rise(before: str, after: str) -> SimpleNamespace:
        middle, low, high = rises[before, after]
        return SimpleNamespace(rise=middle, interval=Interval(low, high))

    return SimpleNamespace(
        options=SimpleNamespace(**options),
        held_out=lambda got, name: name,
        row=lambda condition, *_, **more: {"condition": condition, "r": 0.5, **more},
        rise=rise,
        seed_data=SimpleNamespace(reports={"instilled": "before"}),
        stages=SimpleNamespace(style=ChatStyle()),
    )


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((0.1, 0.05, 0.15), (0.3, 0.2, 0.4), "privileged"),
        # The smallest margin is told from 0, a larger one is not: it does not say more than *every* outsider.
        ((0.1, 0.05, 0.15), (0.3, -0.1, 0.7), "cannot be told"),
        # That a margin is not told from 0 is no finding that there is none.
        ((0.05, -0.05, 0.15), (0.3, 0.2, 0.4), "cannot be told"),
        ((-0.05, -0.15, 0.05), (0.3, 0.2, 0.4), "no margin"),
    ],
)
def test_privileged_access_is_told_from_every_outsider_or_not_at_all(first: Told, second: Told, verdict: str) -> None:
    rises = {("privileged a fold", "fold"): first, ("privileged b fold", "fold"): second}
    ctx = context(rises, others=("a", "b"), twin=False, regression=False)
    assert control("privileged").read(ctx, {}).verdict == verdict


@pytest.mark.parametrize(
    ("placebo", "left", "verdict"),
    [
        ((0.0, -0.1, 0.1), (0.3, 0.2, 0.4), "does not raise r"),
        ((0.1, 0.02, 0.2), (0.2, 0.1, 0.3), "raises r"),
        # Too few contexts to tell a placebo from the truth exclude nothing.
        ((0.1, -0.1, 0.3), (0.2, -0.05, 0.45), "cannot be told"),
    ],
)
def test_a_placebo_excludes_something_only_where_the_truth_is_seen_to_raise_r_more(placebo, left, verdict) -> None:
    rises = {("before", "fold"): (0.3, 0.2, 0.4), ("before", "placebo shuffled "): placebo}
    ctx = context({**rises, ("placebo shuffled ", "fold"): left}, kinds=("shuffled",))
    assert control("placebo").read(ctx, {}).verdict == verdict


def test_where_nothing_raises_r_there_is_nothing_for_a_placebo_to_explain() -> None:
    rises = {("before", "fold"): (0.0, -0.1, 0.1), ("before", "placebo shuffled "): (0.0, -0.1, 0.1)}
    ctx = context({**rises, ("placebo shuffled ", "fold"): (0.0, -0.1, 0.1)}, kinds=("shuffled",))
    reading = control("placebo").read(ctx, {})
    assert (reading.verdict, "nothing to explain" in reading.sentence) == ("does not raise r", True)


def test_fewer_usable_wordings_of_a_disposition_make_its_interval_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of six are not answered: four values have Student's t of three degrees of freedom, not five."""
    says = {"seeking": [0.56, 0.84, 0.6, 0.8, np.nan, np.nan], "averse": [0.5] * 6, "untuned": [0.5] * 6}
    monkeypatch.setattr(disposition, "_share", lambda name: 0.5)
    monkeypatch.setattr(disposition, "_by_wording", lambda name: np.array(says[name]))
    got = {f"disposition {name}: {kind}": name for name in says for kind in ("gambles", "questions")}
    reading = control("disposition").read(context({}), got)
    assert "over 4 wordings they differ by +0.20 [-0.02, +0.42]" in reading.sentence
    assert reading.verdict == "does not tell"


def test_a_claim_is_held_against_its_own_alternatives_also_where_another_is_missing() -> None:
    """Report training on a fold failed: only the native contexts were compared."""
    result = SimpleNamespace(
        arms=[{"name": "instilled", "pooled_r": 0.4, "ci_low": 0.3, "ci_high": 0.5, "beyond_untuned_low": 0.2}],
        rises={"native": SimpleNamespace(estimate=0.3)},
        rise_interval=lambda _: Interval(0.2, 0.4),
        seeds=[SimpleNamespace(drift={"native": 0.99})],
    )
    _, native = claims_of(result)
    assert native.finding.endswith("native preferences")
    assert native.control == "common-sense"


def test_a_claim_names_a_control_that_would_tell_or_says_what_else_would() -> None:
    rise = SimpleNamespace(estimate=0.3)
    result = SimpleNamespace(
        arms=[{"name": "instilled", "pooled_r": 0.4, "ci_low": 0.3, "ci_high": 0.5, "beyond_untuned_low": 0.2}],
        rises={"held-out": rise}, rise_interval=lambda _: Interval(0.2, 0.4), seeds=[SimpleNamespace(drift={})],
    )  # fmt: skip
    first, second = claims_of(result, {"grounding": "reads", "privileged": "privileged"})
    # Another order of the same lessons is not another draw of preferences: the control "seeds" would exclude nothing.
    assert str(first).endswith("it hangs on this training run; five seeds or more would tell.")
    assert str(second).endswith("; the control 'placebo' would tell.")
