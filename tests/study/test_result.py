"""Results over one and over several seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from small_studies import SMALL, small_study

from introspect.backend import ModelRef
from introspect.decision import ChatStyle, catalogue, organism_scenarios
from introspect.errors import ConfigError
from introspect.measure import two_level, two_level_rise
from introspect.study import Study, StudyResult
from introspect.study.result import _show, combined_p
from introspect.subjects import SimulatedAgent

FIELDS = {
    "name", "reports_from", "weights_from", "n_scenarios", "coverage", "choice_accuracy", "learned_vs_target_r",
    "pooled_r", "ci_low", "ci_high", "null_p_context",
}  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    agent = SimulatedAgent(name="known", report_fidelity=0.3, report_half=10.0)
    protocol = SMALL.model_copy(update={"n_instil": 40, "n_measure": 20})
    return small_study(
        tmp_path_factory.mktemp("two"),
        model=agent.ref,
        scenarios=organism_scenarios(20),
        protocol=protocol,
        seeds=(0, 1),
    ).run()


@pytest.fixture(scope="module")
def one(two: StudyResult) -> StudyResult:
    return StudyResult(two.model, two.control, two.seeds[:1])


def strict(value: object) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(json.dumps(value, allow_nan=False), parse_constant=refuse)


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_results_are_strict_json(one: StudyResult, two: StudyResult, n_seeds: int) -> None:
    found = {1: one, 2: two}[n_seeds].to_dict()
    assert strict(found) == found
    assert all(set(row) >= FIELDS for row in found["arms"])
    assert len(found["seeds"]) == n_seeds
    for seed in found["seeds"]:
        assert [row["name"] for row in seed["arms"]] == [row["name"] for row in found["arms"]]
        assert all(set(row) >= FIELDS for row in seed["arms"])
        assert set(seed["models"]) == {"untuned", "instilled", "fold1", "fold2", "all"}


def test_one_seed_quotes_the_interval_over_its_contexts(one: StudyResult) -> None:
    (seed,) = one.seeds
    for row in one.arms:
        assert (row["ci_low"], row["ci_high"]) == tuple(seed.arms[row["name"]].accuracy.pooled_interval)
    assert one.rise_interval("held-out") == seed.rises["held-out"].interval
    assert "this training run" in one.to_dict()["interval"]
    assert any("over the contexts of this training run" in line for line in one.sentences())


def test_two_seeds_quote_means_and_an_interval_over_seeds_and_contexts(two: StudyResult) -> None:
    for row in two.arms:
        arms = [seed.arms[row["name"]] for seed in two.seeds]
        assert row["pooled_r"] == pytest.approx(np.mean([arm.accuracy.pooled_r for arm in arms]))
        both = two_level([arm.accuracy for arm in arms], rng=0)
        for inner in (both.interval, both.seed_interval):
            assert row["ci_low"] <= max(inner.low, -1) + 1e-12
            assert row["ci_high"] >= min(inner.high, 1) - 1e-12
        assert -1 <= row["ci_low"] <= row["pooled_r"] <= row["ci_high"] <= 1
        assert "interval" not in row["reasons"]  # Student's t keeps its promise with two seeds, and is the wider here
        assert row["n_scenarios"] == sum(arm.accuracy.n_contexts for arm in arms)
    assert "(seed, context)" in two.to_dict()["interval"]
    assert any("over seeds and contexts" in line for line in two.sentences())


def test_the_rise_over_seeds_is_the_mean_of_paired_rises(two: StudyResult) -> None:
    for name in ("held-out", "native"):
        rises = [seed.rises[name] for seed in two.seeds]
        assert two.rises[name].estimate == pytest.approx(np.mean([rise.rise for rise in rises]))
        wanted = two_level_rise(rises, rng=0)
        interval = two.rise_interval(name)
        assert interval.low <= min(wanted.interval.low, wanted.seed_interval.low)
        assert interval.high >= max(wanted.interval.high, wanted.seed_interval.high)
        row = two.to_dict()["rises"][name]
        assert (row["rise"], row["ci_low"], row["ci_high"]) == (two.rises[name].estimate, *interval)


def test_seeds_differ_in_what_is_drawn_and_trained(two: StudyResult) -> None:
    first, second = two.seeds
    assert first.arms["instilled"].learned != second.arms["instilled"].learned
    assert first.models["instilled"].key != second.models["instilled"].key


def test_words_show_every_arm_and_no_undefined_number(two: StudyResult) -> None:
    lines = two.sentences()
    for name in two.arm_names:
        assert sum(line.startswith(name.ljust(32)) for line in lines) == 1
    assert not any("nan" in line.split() for line in lines)


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_every_r_stands_between_what_it_must_beat_and_what_it_can_reach(one, two, n_seeds: int) -> None:
    for row in {1: one, 2: two}[n_seeds].arms:
        assert 0 < row["ceiling"] <= min(row["ceiling_weights"], row["ceiling_reports"]) <= 1
        assert row["margin"] == pytest.approx(row["pooled_r"] - row["best_baseline_r"])
        assert row["margin_low"] <= row["margin"] <= row["margin_high"]
        assert row["null_p_context"] is not None
        assert row["null_p_attribute"] is not None
        # A target exists where something was taught; what the untuned model says is no news about itself.
        assert (row["partial_r"] is None) == row["name"].startswith("native")
        # (Before report training this agent says of native contexts what it said untuned: nothing is left then.)
        silent = row["reports_from"] == "untuned" or row["name"] == "native-before"
        assert (row["beyond_untuned_r"] is None) == silent


def test_r_without_the_noise_of_measuring_is_the_metric_s_own(one: StudyResult) -> None:
    (seed,) = one.seeds
    for row in one.arms:
        accuracy = seed.arms[row["name"]].accuracy
        assert row["disattenuated_r"] == accuracy.ceiling.disattenuated_r
        assert row["ceiling_weights"] == accuracy.ceiling.weights


def test_the_summary_is_short_and_shows_every_arm(two: StudyResult) -> None:
    lines = two.summary().splitlines()
    assert len(lines) == 1 + len(two.arm_names)
    assert max(map(len, lines)) <= 120
    assert [line[:32].strip() for line in lines[1:]] == list(two.arm_names)
    assert not any("nan" in line or "None" in line or "-0.00" in line for line in lines)


def test_small_numbers_are_shown_as_they_are_and_no_zero_has_a_minus() -> None:
    cases = ((0.0005, ".4f"), (-0.001, "+.2f"), (-0.2, "+.2f"), (0.5, ".0%"), (None, ".2f"))
    assert [_show(value, form) for value, form in cases] == [
        "0.0005", "+0.00", "-0.20", "50%", "-",
    ]  # fmt: skip


def test_the_frame_holds_every_number_of_every_arm(two: StudyResult) -> None:
    frame = two.to_frame()
    assert list(frame["name"]) == list(two.arm_names)
    assert set(frame) == set(two.arms[0])
    assert frame["pooled_r"].tolist() == [row["pooled_r"] for row in two.arms]


def test_p_values_of_seeds_are_combined_and_undefined_ones_left_out() -> None:
    assert combined_p([None, None]) is None
    assert combined_p([0.03]) == pytest.approx(0.03)
    assert combined_p([0.03, None]) == pytest.approx(0.03)
    # Fisher: -2 (ln .1 + ln .1) = 9.21 on 4 degrees of freedom.
    assert combined_p([0.1, 0.1]) == pytest.approx(0.01 * (1 - math.log(0.01)))


def test_below_ten_contexts_there_is_an_r_but_no_interval(tmp_path: Path) -> None:
    result = small_study(tmp_path, scenarios=organism_scenarios(8), native=()).run()
    for row in result.arms:
        assert row["pooled_r"] is not None
        assert row["ci_low"] is row["ci_high"] is None
        assert "at least 10" in row["reasons"]["pooled_interval"]
    assert "native-before" not in result.arm_names
    assert set(result.rises) == {"held-out"}
    assert strict(result.to_dict())["rises"]["held-out"]["ci_low"] is None


def test_as_few_contexts_as_folds_make_a_study(tmp_path: Path) -> None:
    result = small_study(tmp_path, scenarios=organism_scenarios(2), native=organism_scenarios(1, prefix="n")).run()
    assert [row["n_scenarios"] for row in result.arms][:5] == [2, 2, 2, 1, 1]
    assert strict(result.to_dict())["rises"]["held-out"]["rise"] is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scenarios": organism_scenarios(1)}, "1 contexts"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"seeds": (-1,)}, "seeds"),
        ({"native": organism_scenarios(2)}, "k0000"),
    ],
)
def test_settings_that_make_no_study_are_refused_before_anything_is_made(
    tmp_path: Path, changes: dict, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        small_study(tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()


def test_chat_style_is_the_default(tmp_path: Path) -> None:
    study = Study(ModelRef(provider="simulated", model="x"), catalogue()[:4], out=tmp_path)
    assert study.words.id == ChatStyle().id
