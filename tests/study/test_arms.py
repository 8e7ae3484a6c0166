"""Arms hold the right models, on the right contexts, against the right weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from small_studies import SMALL, small_study

from introspect.backend import ModelRef, TrainingSet
from introspect.decision import (
    Attribute,
    ChatStyle,
    DecisionScenario,
    OrganismStyle,
    PromptContent,
    ScenarioSet,
    organism_scenarios,
)
from introspect.store import Store
from introspect.study import ARMS, Arm, SilentWatcher, Study, StudyResult
from introspect.study.stages import SeedData, Stages
from introspect.subjects import SimulatedAgent
from introspect.subjects.simulated import SimulatedTrainer


class Lesson(NamedTuple):
    """One training as the trainer saw it."""

    base: ModelRef
    tuned: ModelRef
    kinds: set[str]
    contexts: set[str]


class Run(NamedTuple):
    study: Study
    result: StudyResult
    data: SeedData
    lessons: list[Lesson]

    @property
    def arms(self) -> dict[str, Arm]:
        return dict(self.result.seeds[0].arms)


def data_of(study: Study) -> SeedData:
    """What the stages of seed 0 left in the store."""
    with Store.open(study.folder / "study.db") as store:
        return Stages(
            store, study.folder / "models", study.model, ScenarioSet(study.scenarios), ScenarioSet(study.native),
            study.protocol, OrganismStyle(), SilentWatcher(),
        ).run(0)  # fmt: skip


def read(data: TrainingSet) -> Iterator[PromptContent]:
    return (OrganismStyle().read(example.prompt) for example in data)


def run(folder: Path, **changes) -> Run:
    lessons = []
    train = SimulatedTrainer.train

    async def watched(self, base, data, spec, jobs):
        tuned = await train(self, base, data, spec, jobs)
        contents = list(read(data))
        lessons.append(Lesson(base, tuned, {c.kind for c in contents}, {c.chooser for c in contents}))
        return tuned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedTrainer, "train", watched)
        study = small_study(folder, **changes)
        result = study.run()
    return Run(study, result, data_of(study), lessons)


@pytest.fixture(scope="module", params=[2, 3], ids=["two folds", "three folds"])
def ran(request, tmp_path_factory: pytest.TempPathFactory) -> Run:
    protocol = SMALL.model_copy(update={"n_folds": request.param})
    return run(tmp_path_factory.mktemp("ran"), protocol=protocol)


def normalised(weights: dict[str, float]) -> np.ndarray:
    vector = np.array(list(weights.values()))
    return 100 * vector / np.abs(vector).max()


def assert_close(found: dict, expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, vector in expected.items():
        assert found[name] == pytest.approx(vector)


def test_the_published_arms_come_first_and_the_controls_after(ran: Run) -> None:
    names = [row["name"] for row in ran.result.arms]
    assert tuple(names[:5]) == ARMS == ("untuned", "instilled", "report-trained", "native-before", "native-after")
    controls = {"report-trained, weights after", "report-trained, trained half"}
    assert set(names[5:]) == controls | {"native-untuned", "native-after, weights after"}


def test_trainers_are_given_choices_first_and_then_reports_of_each_fold(ran: Run) -> None:
    instil, *reports = ran.lessons
    everything = set(ScenarioSet(ran.study.scenarios).ids)
    assert (instil.base, instil.kinds, instil.contexts) == (ran.study.model, {"choice"}, everything)
    assert [lesson.contexts for lesson in reports] == [*(set(train) for train, _ in ran.data.draw.folds), everything]
    for lesson in reports:
        assert lesson.kinds == {"report"}
        assert lesson.base.key == instil.tuned.key


def test_no_context_is_scored_as_held_out_by_a_model_that_was_trained_on_it(ran: Run) -> None:
    by_model = {lesson.tuned.key: lesson for lesson in ran.lessons}
    seen: list[str] = []
    for number, (_, test) in enumerate(ran.data.draw.folds, 1):
        reports = ran.data.reports[f"fold{number}"]
        lesson = by_model[reports.model]
        assert lesson.contexts.isdisjoint(test)
        assert len(lesson.contexts) + len(test) == 12
        held_out = {name: normalised(weights) for name, weights in reports.mean().items() if name in test}
        said = ran.arms["report-trained"].said
        assert_close({name: said[name] for name in test}, held_out)
        seen += test
    assert sorted(seen) == sorted(ran.arms["report-trained"].said)


def test_nothing_is_ever_instilled_or_reported_in_training_about_native_contexts(ran: Run) -> None:
    native = set(ScenarioSet(ran.study.native).ids)
    assert all(lesson.contexts.isdisjoint(native) for lesson in ran.lessons)
    for name in ("native-untuned", "native-before", "native-after", "native-after, weights after"):
        assert set(ran.arms[name].said) == native


def learned(weights) -> dict[str, np.ndarray]:
    return {name: normalised(weights.weights(name)) for name in weights.scenario_ids}


@pytest.mark.parametrize(
    ("arm", "reports_from", "weights_from"),
    [("untuned", "untuned", "instilled"), ("instilled", "instilled", "instilled")],
)
def test_early_arms_score_their_model_s_reports_against_instilled_weights(ran, arm, reports_from, weights_from) -> None:
    found = ran.arms[arm]
    assert (found.reports_from, found.weights_from) == (reports_from, weights_from)
    reports = ran.data.reports[reports_from]
    assert reports.model == {"untuned": ran.study.model, "instilled": ran.lessons[0].tuned}[reports_from].key
    assert_close(found.said, {name: normalised(w) for name, w in reports.mean().items()})
    assert ran.data.choices[weights_from].model == ran.lessons[0].tuned.key
    assert_close(found.learned, learned(ran.data.weights[weights_from]))


@pytest.mark.parametrize(
    ("arm", "model"), [("native-untuned", "untuned"), ("native-before", "instilled"), ("native-after", "all")]
)
def test_native_arms_score_against_the_instilled_model_s_native_choices(ran: Run, arm: str, model: str) -> None:
    found = ran.arms[arm]
    assert_close(found.said, {n: normalised(w) for n, w in ran.data.native_reports[model].mean().items()})
    assert_close(found.learned, learned(ran.data.native_weights["instilled"]))
    assert ran.data.native_reports[model].model == {
        "untuned": ran.study.model, "instilled": ran.lessons[0].tuned, "all": ran.lessons[-1].tuned,
    }[model].key  # fmt: skip


def test_weights_after_are_those_of_the_model_that_reported(ran: Run) -> None:
    after = {}
    for number, (_, test) in enumerate(ran.data.draw.folds, 1):
        assert ran.data.choices[f"fold{number}"].model == ran.data.reports[f"fold{number}"].model
        after |= {name: vector for name, vector in learned(ran.data.weights[f"fold{number}"]).items() if name in test}
    assert_close(ran.arms["report-trained, weights after"].learned, after)
    assert_close(ran.arms["native-after, weights after"].learned, learned(ran.data.native_weights["all"]))


def test_the_headline_r_is_the_correlation_of_what_is_shown(ran: Run) -> None:
    for arm in ran.arms.values():
        x = np.concatenate([arm.learned[name] for name in sorted(arm.learned)])
        y = np.concatenate([arm.said[name] for name in sorted(arm.said)])
        assert arm.accuracy.pooled_r == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_targets_exist_where_something_was_instilled_and_nowhere_else(ran: Run) -> None:
    for name, arm in ran.arms.items():
        told = [math.isnan(arm.choice_accuracy), math.isnan(arm.learned_vs_target_r)]
        assert told == [name.startswith("native")] * 2


def test_the_trained_arm_shows_each_context_once_by_a_model_that_was_trained_on_it(ran: Run) -> None:
    arm = ran.arms["report-trained, trained half"]
    assert set(arm.said) == set(ScenarioSet(ran.study.scenarios).ids)
    for name, said in arm.said.items():
        trained = [k for k, (train, _) in enumerate(ran.data.draw.folds, 1) if name in train]
        assert len(trained) == ran.study.protocol.n_folds - 1
        assert any(said == pytest.approx(normalised(ran.data.reports[f"fold{k}"].mean()[name])) for k in trained)


def test_measuring_pairs_were_never_trained_on(tmp_path: Path) -> None:
    """On a coarse grid chance alone would repeat some."""
    coarse = [
        DecisionScenario(
            id=f"c{k}", chooser=f"pilot {k}", item="boat", question="Which boat?",
            attributes=tuple(Attribute(name=n, low=0, high=4, step=1) for n in ("size", "speed")),
        )
        for k in range(6)
    ]  # fmt: skip
    study = small_study(
        tmp_path,
        scenarios=coarse,
        native=(),
        style=ChatStyle(),
        protocol=SMALL.model_copy(update={"n_instil": 60, "n_measure": 60}),
    )
    nothing = ScenarioSet(())
    with Store.open(tmp_path / "study.db") as store:
        stages = Stages(
            store, tmp_path, study.model, ScenarioSet(coarse), nothing, study.protocol, ChatStyle(), SilentWatcher()
        )
        draw = stages._draw(0)

    def pairs(trials) -> set:
        return {(scenario.id, frozenset(trial.values)) for scenario, trial in trials}

    assert len(pairs(draw.instil)) == len(pairs(draw.measure)) == 6 * 60
    assert pairs(draw.instil).isdisjoint(pairs(draw.measure))


@pytest.mark.parametrize("sharing", [0.0, 1.0])
def test_the_held_out_rise_is_there_exactly_where_report_training_generalises(tmp_path: Path, sharing: float) -> None:
    agent = SimulatedAgent(name="known", report_sharing=sharing, report_fidelity=0.3, report_half=10.0)
    protocol = SMALL.model_copy(update={"n_instil": 50, "n_measure": 30})
    result = small_study(tmp_path, model=agent.ref, scenarios=organism_scenarios(30), protocol=protocol).run()
    (seed,) = result.seeds
    held_out, native = seed.rises["held-out"], seed.rises["native"]
    trained = seed.arms["report-trained, trained half"].accuracy.pooled_r
    assert trained > seed.arms["instilled"].accuracy.pooled_r + 0.15
    if sharing:
        assert held_out.interval.low > 0
        assert held_out.rise > 0.15
        assert native.rise > 0.15
    else:
        assert held_out.rise == pytest.approx(0.0, abs=1e-12)
        assert native.rise == pytest.approx(0.0, abs=1e-12)
    # It learns to report, not to choose: behaviour stays.
    assert seed.drift["held-out"] == pytest.approx(1.0)
    assert seed.drift["native"] == pytest.approx(1.0)


def test_the_untuned_agent_knows_nothing_of_what_will_be_instilled(tmp_path: Path) -> None:
    agent = SimulatedAgent(name="honest", report_fidelity=1.0, report_noise=0.0)
    arms = small_study(tmp_path, model=agent.ref, scenarios=organism_scenarios(40), native=()).run().seeds[0].arms
    assert abs(arms["untuned"].accuracy.pooled_r) < 0.25
    assert arms["untuned"].accuracy.p_shuffle > 0.01
    assert arms["instilled"].accuracy.pooled_r > 0.75
    assert arms["instilled"].accuracy.p_shuffle == 0.01  # none of 99 shuffles came close
