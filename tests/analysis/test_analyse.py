"""What `analyse` says of choosers and reporters whose truth is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tidy_rows import AXES, choice_rows, report_rows

from introspect.analysis import analyse, read_choices, read_reports, write_tidy
from introspect.analysis.analysis import FIELDS
from introspect.errors import MeasureError
from introspect.measure import AccuracyMetric, ReportTable, pair
from introspect.measure.pooled_z import pooled_z

QUICK = AccuracyMetric(n_boot=200, n_null=199, n_splits=4)
PROMISED = [
    "n_scenarios", "n_reports_used", "n_reports_dropped", "coverage", "pooled_r", "ci_low", "ci_high", "mean_within_r",
    "median_within_r", "sign_agreement", "top_attribute", "mae", "ceiling", "disattenuated_r", "null_p_context",
    "null_p_attribute", "separated_share", "learned_vs_target_r",
]  # fmt: skip
FIVE = {**AXES, "age": (0.0, 80.0), "deposit": (100.0, 4100.0)}


def target_rows(truth):
    return [{"scenario": k, "attribute": name, "weight": w} for k, own in truth.items() for name, w in own.items()]


@pytest.fixture(scope="module")
def data():
    """Forty contexts of a noisy chooser, and reporters of three kinds."""
    rows, truth = choice_rows(n_scenarios=40, n_trials=40, axes=FIVE, temperature=0.15, seed=3)
    stranger = choice_rows(n_scenarios=40, n_trials=1, axes=FIVE, seed=99)[1]
    said = {
        "knows": report_rows(truth, samples=3),
        "half": report_rows(truth, error=60, samples=3),
        "guesses": report_rows(stranger, samples=3),
    }
    return rows, truth, said


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    from tidy_rows import write_rows

    rows, truth, said = data
    folder = tmp_path_factory.mktemp("own")
    reports = [{"arm": arm, **row} for arm, own in said.items() for row in own]
    return analyse(
        write_rows(folder / "c.csv", rows),
        write_rows(folder / "r.csv", reports),
        write_rows(folder / "t.csv", target_rows(truth)),
        compat="pooled-z",
        metric=QUICK,
    )


def test_the_json_has_exactly_the_promised_fields_per_arm(found) -> None:
    assert list(FIELDS) == PROMISED
    arms = json.loads(json.dumps(found.to_dict(), allow_nan=False))["arms"]
    assert list(arms) == ["knows", "half", "guesses"]
    for arm in arms.values():
        assert set(arm) == {*PROMISED, "reasons", "diagnostics", "compat"}
        assert set(arm["reasons"]) == {name for name in PROMISED if arm[name] is None}


def test_reporters_are_told_apart(found) -> None:
    arms = found.to_dict()["arms"]
    knows, half, guesses = (arms[name] for name in ("knows", "half", "guesses"))
    assert knows["pooled_r"] > 0.9
    assert knows["mae"] < half["mae"] < guesses["mae"]
    assert abs(guesses["pooled_r"]) < 0.2
    assert guesses["ci_low"] < 0 < guesses["ci_high"]
    for arm in (knows, half):
        assert arm["null_p_context"] == arm["null_p_attribute"] == pytest.approx(1 / 200)
        assert arm["ci_low"] < arm["pooled_r"] < arm["ci_high"]
    assert guesses["null_p_context"] > 0.01
    assert knows["sign_agreement"] > 0.95
    assert knows["top_attribute"] > guesses["top_attribute"] + 0.2


def test_noise_of_the_choices_is_taken_out(found, data) -> None:
    _, truth, _ = data
    half = found["half"]
    against_truth = pair(half.reports, truth).moments.pooled()
    assert half.accuracy.pooled_r < against_truth
    assert half.to_dict()["disattenuated_r"] == pytest.approx(against_truth, abs=0.03)
    knows = found.to_dict()["arms"]["knows"]
    assert knows["ceiling"] == pytest.approx(knows["pooled_r"], abs=0.03)
    assert knows["disattenuated_r"] == pytest.approx(1, abs=0.03)


def test_what_the_choices_were_meant_to_follow_is_compared(found) -> None:
    arms = found.to_dict()["arms"]
    # The reporter of the truth says the target itself, so the two correlations are the same.
    assert arms["knows"]["learned_vs_target_r"] == pytest.approx(arms["knows"]["pooled_r"], abs=1e-3)
    assert arms["half"]["learned_vs_target_r"] == arms["knows"]["learned_vs_target_r"]


def test_everything_is_used_where_nothing_is_wrong(found) -> None:
    for arm in found.to_dict()["arms"].values():
        assert (arm["n_scenarios"], arm["n_reports_used"], arm["n_reports_dropped"]) == (40, 120, 0)
        assert arm["coverage"] == 1
        assert 0 <= arm["separated_share"] < 0.5


def test_the_published_analysis_stands_beside_the_default(found) -> None:
    arm = found.to_dict()["arms"]["half"]
    compat = arm["compat"]["pooled-z"]
    assert compat["default_r"] == arm["pooled_r"]
    assert compat["difference"] == pytest.approx(compat["r"] - arm["pooled_r"])
    assert compat["r"] == pooled_z(found["half"].choices, found["half"].reports).r
    assert "exchangeable" in compat["naive_ci"]
    assert compat["naive_ci_high"] - compat["naive_ci_low"] > 0
    assert "published analysis" in found.summary()


def test_diagnostics_come_before_the_numbers(found) -> None:
    text = found["half"].summary()
    lines = text.splitlines()
    assert lines[0] == "arm half"
    assert "arm 'half' are held against choices of arm 'all'" in lines[1]
    fitted = next(i for i, line in enumerate(lines) if "Fitted" in line)
    assert fitted < next(i for i, line in enumerate(lines) if line.strip().startswith("r = "))
    assert found.summary().count("\n\n") == 2


def test_the_same_seed_gives_the_same_bytes(data, files) -> None:
    rows, _, said = data
    paths = files("c.csv", rows[:2400]), files("r.csv", said["half"])
    one, same, other = (json.dumps(analyse(*paths, rng=s, metric=QUICK).to_dict()) for s in (4, 4, 5))
    assert one == same != other


def test_tables_in_memory_and_their_files_say_the_same(data, files, tmp_path) -> None:
    rows, truth, said = data
    choices = read_choices(files("c.csv", rows[:2400]))
    reports = read_reports(files("r.csv", said["half"][:180]), choices)
    direct = analyse(choices["all"], reports["all"], truth, metric=QUICK)
    paths = write_tidy(tmp_path / "out", choices, reports, truth)
    again = analyse(paths["choices"], paths["reports"], paths["targets"], metric=QUICK)
    assert again.to_dict() == direct.to_dict()


def test_dropped_reports_and_lost_scenarios_are_counted(data, files) -> None:
    rows, _, said = data
    own = [r for r in said["knows"] if not (r["scenario"] in ("k0", "k1") and r["attribute"] == "size")]
    own = [r for r in own if r["scenario"] != "k2"]
    own += [{**r, "scenario": "elsewhere"} for r in said["knows"][:5]]
    arm = analyse(files("c.csv", rows), files("r.csv", own), metric=QUICK)["all"]
    row = arm.to_dict()
    assert (row["n_scenarios"], row["n_reports_used"], row["n_reports_dropped"]) == (37, 111, 7)
    # Forty scenarios of the choices, and one that only the reports have.
    assert row["coverage"] == pytest.approx(37 / 41)
    assert any("lacks attributes of its scenario: 6" in line for line in row["diagnostics"])
    assert any("no choices in its scenario: 1" in line for line in row["diagnostics"])


def test_probabilities_reveal_more_than_letters(files) -> None:
    rng = np.random.default_rng(0)
    rows, truth = choice_rows(n_scenarios=15, n_trials=14, axes=FIVE)
    low, high = np.array(list(FIVE.values())).T
    graded, letters = [], []
    for at in range(0, len(rows), 5):
        own = rows[at : at + 5]
        gap = sum(
            (r["value_a"] - r["value_b"]) / (high[k] - low[k]) * truth[r["scenario"]][r["attribute"]] / 100
            for k, r in enumerate(own)
        )
        chance = 1 / (1 + math.exp(-5 * gap))
        letter = "A" if rng.random() < chance else "B"
        graded += [{**r, "choice": chance} for r in own]
        letters += [{**r, "choice": letter} for r in own]
    said = files("r.csv", report_rows(truth, samples=1))
    exact = analyse(files("g.csv", graded), said, metric=QUICK)["all"].accuracy.pooled_r
    noisy = analyse(files("l.csv", letters), said, metric=QUICK)["all"].accuracy.pooled_r
    assert exact > 0.999
    assert noisy < 0.95


def test_undefined_is_null_with_its_reason(data, files) -> None:
    rows, truth, _ = data
    few = [r for r in rows if r["scenario"] in ("k0", "k1", "k2")]
    flat = report_rows({k: dict.fromkeys(truth[k], 50) for k in ("k0", "k1", "k2")}, samples=1)
    arm = analyse(files("c.csv", few), files("r.csv", flat), metric=QUICK).to_dict()["arms"]["all"]
    for name in ("pooled_r", "ci_low", "ci_high", "mean_within_r", "null_p_context", "learned_vs_target_r"):
        assert arm[name] is None
        assert arm["reasons"][name]
    assert "target" in arm["reasons"]["learned_vs_target_r"]


def test_every_estimator_can_be_asked_for(data, files) -> None:
    rows, _, said = data
    paths = files("c.csv", rows[:2400]), files("r.csv", said["knows"])
    r = {e: analyse(*paths, estimator=e, metric=QUICK)["all"].accuracy.pooled_r for e in ("eb", "ridge", "firth")}
    assert min(r.values()) > 0.9
    assert len(set(r.values())) == 3
    with pytest.raises(MeasureError, match="estimator"):
        analyse(*paths, estimator="best")
    with pytest.raises(MeasureError, match="pooled-z"):
        analyse(*paths, compat="pooled")


def arms_of(*names: str, rows):
    return [{"arm": name, **row} for name in names for row in rows] if names else rows


@pytest.mark.parametrize(
    ("chose", "reported", "pairs", "alone"),
    [
        ((), (), {"all": ("all", "all")}, []),
        ((), ("x", "y"), {"x": ("x", "all"), "y": ("y", "all")}, []),
        (("x", "y"), (), {"x": ("all", "x"), "y": ("all", "y")}, []),
        (("x",), (), {"x": ("all", "x")}, []),
        (("x",), ("y", "z"), {"y": ("y", "x"), "z": ("z", "x")}, []),
        (("x", "y"), ("x",), {"x": ("x", "x")}, ["y"]),
        (("x", "y"), ("y", "z"), {"y": ("y", "y")}, ["z", "x"]),
    ],
)
def test_reports_find_the_choices_of_their_arm_or_the_only_ones(files, chose, reported, pairs, alone) -> None:
    rows, truth = choice_rows(n_scenarios=3)
    found = analyse(
        files("c.csv", arms_of(*chose, rows=rows)),
        files("r.csv", arms_of(*reported, rows=report_rows(truth))),
        metric=QUICK,
    )
    assert {name: (arm.reports_from, arm.weights_from) for name, arm in found.arms.items()} == pairs
    assert list(found.unmatched) == alone
    plain = found.to_dict()["arms"]
    for name in alone:
        assert plain[name]["pooled_r"] is None
        assert repr(name) in plain[name]["reasons"]["pooled_r"]
        assert plain[name]["n_reports_used"] == 0
        assert f"arm {name}\n  Not compared" in found.summary()


def test_arms_that_share_no_name_are_refused(files) -> None:
    rows, truth = choice_rows(n_scenarios=3)
    choices = files("c.csv", arms_of("x", "y", rows=rows))
    reports = files("r.csv", arms_of("before", "after", rows=report_rows(truth)))
    with pytest.raises(
        MeasureError, match=r"no arm of the reports \(before, after\) is an arm of the choices \(x, y\)"
    ):
        analyse(choices, reports, metric=QUICK)


def test_reports_without_arm_belong_to_the_arm_that_has_their_scenario(files) -> None:
    rows, truth = choice_rows(n_scenarios=4)
    own = {"k0": "x", "k1": "x", "k2": "y", "k3": "y"}
    choices = files("c.csv", [{"arm": own[r["scenario"]], **r} for r in rows])
    found = analyse(choices, files("r.csv", report_rows(truth)), metric=QUICK).to_dict()["arms"]
    assert {name: (arm["n_scenarios"], arm["n_reports_dropped"], arm["coverage"]) for name, arm in found.items()} == {
        "x": (2, 0, 1),
        "y": (2, 0, 1),
    }


def test_targets_may_be_those_of_an_arm(files) -> None:
    rows, truth = choice_rows(n_scenarios=4, n_trials=60)
    against = {k: {name: -w for name, w in own.items()} for k, own in truth.items()}
    targets = [{"arm": a, **r} for a, own in (("x", truth), ("y", against)) for r in target_rows(own)]
    found = analyse(
        files("c.csv", rows), files("r.csv", arms_of("x", "y", "z", rows=report_rows(truth))),
        files("t.csv", targets), metric=QUICK,
    ).to_dict()["arms"]  # fmt: skip
    assert found["x"]["learned_vs_target_r"] > 0.9
    assert found["y"]["learned_vs_target_r"] == pytest.approx(-found["x"]["learned_vs_target_r"])
    assert found["z"]["learned_vs_target_r"] is None


def test_columns_that_were_not_read_are_named(files) -> None:
    rows, truth = choice_rows(n_scenarios=3)
    path = files("c.csv", [{**r, "logpa": -1, "remark": "x"} for r in rows])
    found = analyse(path, files("r.csv", report_rows(truth)), metric=QUICK)
    assert found.notes == (f"{path}: columns that are no part of the format were not read: logpa, remark.",)
    assert found.summary().endswith("logpa, remark.")


def test_what_is_neither_file_nor_table_is_refused() -> None:
    said = ReportTable.from_weights({"k": {"a": 1.0}})
    for wrong in (3, {}, {"x": said}):
        with pytest.raises(MeasureError, match="expected"):
            analyse(wrong, said)
