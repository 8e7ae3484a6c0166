"""What is promised about FineTuner: what cannot teach is not trained, what taught nothing is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from introspect.backend import FolderJobs, JobRecorder, ModelRef, TrainingSet, TrainingSpec
from introspect.decision.generator import TrialGenerator
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.styles.chat import ChatStyle
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.errors import BackendError, TrainingError
from introspect.subjects.simulated import SimulatedAgent, SimulatedBackend, SimulatedTrainer
from introspect.training import FineTuned, FineTuner, TrainingWarning

LOTS = organism_scenarios(6)
HIDDEN = PreferenceSampler().sample(LOTS, rng=1)
GENERATOR = TrialGenerator()
TRIALS = GENERATOR.label(GENERATOR.trials(LOTS, 30, rng=2), HIDDEN, rng=3)
BASE = SimulatedAgent(seed=1).ref
TRUE = {lot.id: SimulatedAgent(seed=1).preference(lot) for lot in LOTS}


class Watched(SimulatedTrainer):
    """The agents' trainer, which remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[ModelRef, TrainingSet, TrainingSpec, Path]] = []

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        self.given.append((base, data, spec, jobs.folder))
        return await super().train(base, data, spec, jobs)


class Idle(Watched):
    """A trainer whose adapter is never loaded: another name, the same model."""

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        return base.model_copy(update={"adapter": "lost"})


class Picky(Watched):
    """A trainer that finds fault with the data."""

    def check(self, base: ModelRef, data: TrainingSet) -> Sequence[str]:
        return [f"example {k}: the answer is masked" for k in range(1, 6)]


class Incurious:
    """A trainer that offers no check and leaves the lineage to others."""

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        tuned = await SimulatedTrainer().train(base, data, spec, jobs)
        return tuned.model_copy(update={"parent": None})


@pytest.fixture
def tuner(tmp_path: Path):
    return lambda **options: FineTuner(**{"style": OrganismStyle(), "jobs": tmp_path, **options})


@pytest.mark.parametrize("style", [OrganismStyle(), ChatStyle(), None])
def test_choices_instil_the_hidden_preferences(tuner, style):
    tuned = tuner(style=style).instil(BASE, TRIALS, HIDDEN)
    agent = SimulatedAgent.of(tuned.ref)
    for lot in LOTS:
        assert np.corrcoef(agent.preference(lot).vector(lot), HIDDEN[lot.id].vector(lot))[0, 1] > 0.85
    assert tuned.canary is not None
    assert tuned.canary.accuracy_after > 0.75 > tuned.canary.accuracy_before
    assert (tuned.n_examples, tuned.steps, tuned.ref.parent) == (180, 69, BASE)
    assert tuned.warnings == ()


def test_no_weight_is_named_in_instilling(tuner):
    trainer = Watched()
    tuner(trainer=trainer).instil(BASE, TRIALS, HIDDEN)
    assert {example.answer for example in trainer.given[0][1]} == {"A", "B"}


def test_true_reports_make_reports_better(tuner):
    tuned = tuner().train_reports(BASE, LOTS, TRUE, n_per_scenario=5, rng=1)
    assert tuned.n_examples == 30
    assert SimulatedAgent.of(tuned.ref).report_fidelity > SimulatedAgent.of(BASE).report_fidelity + 0.2
    assert tuned.canary is not None
    assert tuned.canary.kind == "report"
    assert tuned.canary.accuracy_after > tuned.canary.accuracy_before


def test_one_report_per_scenario_unless_more_are_asked_for(tuner):
    trainer = Watched()
    tuner(trainer=trainer, on_canary="ignore").train_reports(BASE, LOTS, TRUE)
    assert len(trainer.given[0][1]) == len(LOTS)


def test_two_trainings_are_one_lineage(tuner):
    first = tuner().instil(BASE, TRIALS, HIDDEN)
    second = tuner(canary=0).train_reports(first.ref, LOTS, HIDDEN)
    assert second.ref.parent == first.ref
    assert second.ref.parent.parent == BASE
    assert second.canary is None
    agents = SimulatedAgent.of(first.ref), SimulatedAgent.of(second.ref)
    assert [agents[0].preference(lot) for lot in LOTS] == [agents[1].preference(lot) for lot in LOTS]


def test_lineage_does_not_hang_on_the_trainer(tuner):
    assert tuner(trainer=Incurious()).instil(BASE, TRIALS, HIDDEN).ref.parent == BASE


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda: (TRIALS.with_labels(None), HIDDEN), "no label"),
        (lambda: (TRIALS.with_labels(1 - TRIALS.labels), HIDDEN), "contradict"),
        (lambda: (TRIALS.with_labels(0 * TRIALS.labels), None), "'A'"),
    ],
)
def test_refusals_come_before_anything_is_trained(tuner, spoil, match):
    trainer = Watched()
    trials, preferences = spoil()
    with pytest.raises(TrainingError, match=match):
        tuner(trainer=trainer).instil(BASE, trials, preferences)
    assert trainer.given == []


def test_what_the_trainer_finds_is_a_refusal(tuner):
    trainer = Picky()
    with pytest.raises(TrainingError, match=r"Picky cannot train .*masked.*\(and 2 more\)"):
        tuner(trainer=trainer).instil(BASE, TRIALS, HIDDEN)
    assert trainer.given == []


def test_a_trainer_s_check_may_raise_or_hand_back_a_summary(tuner):
    class Summing(Watched):
        def check(self, base, data):
            return {"examples": len(data)}

    class Raising(Watched):
        def check(self, base, data):
            raise TrainingError("example 7 is cut off")

    assert tuner(trainer=Summing()).instil(BASE, TRIALS, HIDDEN).n_examples == 180
    with pytest.raises(TrainingError, match="example 7"):
        tuner(trainer=Raising()).instil(BASE, TRIALS, HIDDEN)


def test_noisy_labels_pass_with_their_noise_stated(tuner):
    noisy = GENERATOR.label(TRIALS, HIDDEN, "logistic", rng=5, scale=10.0)
    with pytest.raises(TrainingError, match="contradict"):
        tuner().instil(BASE, noisy, HIDDEN)
    assert tuner().instil(BASE, noisy, HIDDEN, label_noise=0.12).n_examples == 180


def test_a_lopsided_set_is_trained_with_a_warning(tuner):
    lopsided = TRIALS.with_labels((np.arange(180) % 5 == 0).astype(int))
    with pytest.warns(TrainingWarning, match="80 % of the 180"):
        tuned = tuner(on_canary="ignore").instil(BASE, lopsided)
    assert any("80 %" in sentence for sentence in tuned.warnings)


def test_a_training_that_changed_nothing_is_refused(tuner):
    with pytest.raises(TrainingError, match="changed nothing that can be seen"):
        tuner(trainer=Idle()).instil(BASE, TRIALS, HIDDEN)
    with pytest.warns(TrainingWarning, match="same answers as its base"):
        tuned = tuner(trainer=Idle(), on_canary="warn").instil(BASE, TRIALS, HIDDEN)
    assert tuned.canary is not None
    assert tuned.canary.indistinguishable


def test_training_what_is_known_already_is_not_refused(tuner):
    sharp = SimulatedAgent(scale=1e6).with_preferences(LOTS, HIDDEN).ref
    with pytest.warns(TrainingWarning, match="same answers"):
        tuned = tuner(trainer=Idle()).instil(sharp, TRIALS, HIDDEN)
    assert tuned.canary is not None
    assert tuned.canary.accuracy_before == 1.0


def test_each_training_has_a_folder_of_its_own(tuner, tmp_path):
    trainer = Watched()
    for seed in (0, 0, 1):
        tuner(trainer=trainer, spec=TrainingSpec(seed=seed)).instil(BASE, TRIALS, HIDDEN)
    folders = [folder for *_, folder in trainer.given]
    assert folders[0] == folders[1] != folders[2]
    assert all(folder.parent == tmp_path for folder in folders)


def test_a_study_may_bring_its_own_recorders(tuner, tmp_path):
    made: list[str] = []

    def recorder(job: str) -> FolderJobs:
        made.append(job)
        return FolderJobs(tmp_path / "mine" / job)

    trainer = Watched()
    tuner(trainer=trainer, jobs=recorder).instil(BASE, TRIALS, HIDDEN)
    assert trainer.given[0][3] == tmp_path / "mine" / made[0]


def test_models_of_no_provider_can_be_trained_and_opened(tuner):
    foreign = ModelRef(provider="elsewhere", model="m")

    class Elsewhere(SimulatedTrainer):
        async def train(self, base, data, spec, jobs):
            return (await super().train(BASE, data, spec, jobs)).model_copy(update={"provider": "elsewhere"})

        def check(self, base, data):
            return ()

    def opened(ref, cache):
        return SimulatedBackend(BASE if ref == foreign else ref.model_copy(update={"provider": "simulated"}))

    with pytest.raises(BackendError, match="elsewhere"):
        tuner().instil(foreign, TRIALS, HIDDEN)
    tuned = tuner(trainer=Elsewhere(), open=opened).instil(foreign, TRIALS, HIDDEN)
    assert tuned.ref.provider == "elsewhere"


def test_async_twins_do_the_same(tuner):
    async def both() -> tuple[FineTuned, FineTuned]:
        first = await tuner().ainstil(BASE, TRIALS, HIDDEN)
        return first, await tuner(canary=0).atrain_reports(first.ref, LOTS, HIDDEN, rng=3)

    first, second = asyncio.run(both())
    assert first == tuner().instil(BASE, TRIALS, HIDDEN)
    assert second == tuner(canary=0).train_reports(first.ref, LOTS, HIDDEN, rng=3)


def test_plain_calls_work_inside_a_running_loop(tuner):
    async def notebook() -> FineTuned:
        return tuner().instil(BASE, TRIALS, HIDDEN)

    assert asyncio.run(notebook()) == tuner().instil(BASE, TRIALS, HIDDEN)


def test_a_result_survives_json(tuner):
    tuned = tuner().instil(BASE, TRIALS, HIDDEN)
    assert FineTuned.model_validate_json(tuned.model_dump_json()) == tuned


def test_canary_replies_are_kept_where_a_cache_is_given(tuner):
    class Shelf(dict):
        def put(self, key, request, reply, info):
            self[key] = reply

    shelf = Shelf()
    tuner(cache=shelf, canary=8).instil(BASE, TRIALS, HIDDEN)
    assert len(shelf) == 16


@pytest.mark.parametrize("options", [{"canary": -1}, {"on_canary": "shrug"}])
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(TrainingError):
        FineTuner(**options)
