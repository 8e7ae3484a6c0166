"""Everything to know before a statistic is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from introspect.decision import TrialSet
from introspect.errors import MeasureError
from introspect.measure import ChoiceModel, ChoiceTable, diagnose
from introspect.measure.diagnostics import ADVICE, FLAGS


@pytest.fixture
def troubled(make_world) -> ChoiceTable:
    """Five scenarios: fine, all on one side, tossed, often refused, fine."""
    _, _, trials = make_world(n_scenarios=5, n_trials=40, scale=8.0)
    labels = trials.labels.astype(int)
    labels[40:80] = 1
    labels[80:120] = np.random.default_rng(3).integers(0, 2, 40)
    labels[120:135] = -1
    table = ChoiceTable.from_choices(trials, labels)
    status = table.status.astype("<U12")
    status[120:135] = "refused"
    outside = np.where(np.arange(200) >= 160, 0.4, 0.001)
    return replace(table, status=status, mass_outside=outside)


def test_every_trouble_is_found_where_it_is(troubled):
    found = diagnose(troubled, n_permutations=49, n_boot=9)
    assert found.with_code("one_sided") == ("s001",)
    assert set(found.with_code("undetected")) == {"s001", "s002"}
    assert found.with_code("unanswered") == ("s003",)
    assert found.with_code("mass_outside") == ("s004",)
    assert found.detection["s002"].p > 0.05 > found.detection["s000"].p
    overall = " ".join(f.sentence for f in found.of(""))
    assert "15 of 200 trials (7.5%)" in overall
    assert "15 refused" in overall


def test_every_finding_gives_a_number_and_says_what_to_do(troubled):
    found = diagnose(troubled, n_permutations=49, n_boot=9)
    assert len(found) == len(found.findings) > 5
    for finding in found:
        assert any(character.isdigit() for character in finding.sentence)
        assert finding.sentence.count(". ") >= 1
        assert finding.sentence.endswith(".")
        assert not finding.scenario_id or repr(finding.scenario_id) in finding.sentence
    assert set(ADVICE) == set(FLAGS)


def test_findings_become_a_frame(troubled):
    frame = diagnose(troubled, n_permutations=19, n_boot=0).to_pandas()
    assert list(frame.columns) == ["code", "scenario_id", "statistic", "p", "sentence"]
    assert (frame.loc[frame.code == "one_sided", "statistic"] == 40).all()


def test_choices_without_trouble_say_so(make_world):
    _, wishes, trials = make_world(n_scenarios=12, n_trials=60, scale=5.0)
    audit = TrialSet.concat([trials, trials.take(np.arange(0, len(trials), 10)).swapped()])
    found = diagnose(audit, ChoiceModel("ridge", tau=3.0).fit(audit), signs=wishes, n_permutations=19, n_boot=19)
    assert found.of("") == ()
    text = "\n".join(found.sentences())
    assert "dominated option was taken in" in text
    assert "A straight line does." in text
    assert "Shown in another order, 0%" in text  # labels were copied, not asked anew


def test_what_was_not_measured_is_named_with_how_to_measure_it(make_world):
    _, _, trials = make_world(n_scenarios=2, n_trials=40, scale=5.0)
    text = "\n".join(diagnose(trials, n_permutations=9, n_boot=9).sentences())
    assert "again the other way round" in text


def test_findings_repeat_from_the_seed(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=30, scale=3.0)
    a, b = (diagnose(trials, rng=5, n_permutations=19, n_boot=9) for _ in range(2))
    assert a.findings == b.findings or str(a.findings) == str(b.findings)  # NaN differs from itself
    assert (a.linearity.p, a.detection) == (b.linearity.p, b.detection)


def test_weights_of_other_scenarios_are_refused(make_world, troubled):
    with pytest.raises(MeasureError, match="lack scenarios"):
        diagnose(troubled, ChoiceModel().fit(troubled).select(["s000"]))
    with pytest.raises(MeasureError, match="not diagnosed"):
        diagnose(troubled, n_permutations=9, n_boot=0).of("nowhere")
