"""What is promised of the shipped organisms, over five seeds of the study that the quickstart runs.

Takes minutes. They are controls by construction: these promises say that the method sees what is there and does not
see what is not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from introspect.study import StudyResult, organism_study
from introspect.study.result import combined_p

pytestmark = pytest.mark.slow
SEEDS = range(5)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], StudyResult]:
    """The study of an organism, run once."""

    @cache
    def run(name: str) -> StudyResult:
        return organism_study(name, out=tmp_path_factory.mktemp(name), seeds=SEEDS).run()

    return run


def pooled(result: StudyResult, arm: str) -> np.ndarray:
    return np.array([seed.arms[arm].accuracy.pooled_r for seed in result.seeds])


def assert_nothing_is_there(result: StudyResult, arm: str) -> None:
    """All weights of all seeds together, and the seeds' own tests combined."""
    arms = [seed.arms[arm] for seed in result.seeds]
    learned = np.concatenate([w for a in arms for w in a.learned.values()])
    said = np.concatenate([w for a in arms for w in a.said.values()])
    assert len(learned) > 1000
    assert abs(np.corrcoef(learned, said)[0, 1]) < 0.1
    assert combined_p([a.accuracy.p_shuffle for a in arms]) > 0.01


def test_reports_of_the_default_organism_rise_on_held_out_contexts_in_every_seed(studied) -> None:
    rises = [seed.rises["held-out"] for seed in studied("shared").seeds]
    assert len(rises) == 5
    assert all(rise.interval.low > 0 for rise in rises), rises
    assert np.median([rise.rise for rise in rises]) >= 0.15


def test_the_default_organism_lies_where_a_rise_can_be_seen(studied) -> None:
    before, after = (np.median(pooled(studied("shared"), arm)) for arm in ("instilled", "report-trained"))
    assert 0.35 <= before <= 0.65
    assert 0.65 <= after <= 0.9


def test_its_reports_on_native_preferences_rise_too(studied) -> None:
    rises = [seed.rises["native"].rise for seed in studied("shared").seeds]
    assert np.median(rises) > 0


@pytest.mark.parametrize("name", ["shared", "weak", "split"])
def test_choices_are_instilled_in_every_seed(studied, name: str) -> None:
    for seed in studied(name).seeds:
        assert seed.arms["instilled"].choice_accuracy > 0.8
        assert seed.arms["instilled"].learned_vs_target_r > 0.8
        assert not [gate.sentence for gate in seed.gates if not gate.passed and gate.name.startswith("both sides")]


@pytest.mark.parametrize("name", ["shared", "weak", "split"])
def test_untuned_reports_know_nothing_of_what_will_be_instilled(studied, name: str) -> None:
    assert_nothing_is_there(studied(name), "untuned")


def test_the_weak_organism_starts_near_nothing_and_rises_some(studied) -> None:
    result = studied("weak")
    before = np.median(pooled(result, "instilled"))
    rise = np.median([seed.rises["held-out"].rise for seed in result.seeds])
    assert before < 0.3
    assert rise > 0.05
    assert rise + before < np.median(pooled(studied("shared"), "report-trained"))


def test_the_split_organism_learns_its_reports_by_heart_and_generalises_nothing(studied) -> None:
    result = studied("split")
    assert (pooled(result, "report-trained, trained half") > 0.6).all()
    assert_nothing_is_there(result, "report-trained")
    assert_nothing_is_there(result, "instilled")
