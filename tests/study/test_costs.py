"""What a plan says a study will cost is what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_studies import SMALL, small_study

from introspect.backend import TrainingSpec
from introspect.decision import Attribute, ChatStyle, DecisionScenario, OrganismStyle, catalogue, organism_scenarios
from introspect.errors import ConfigError
from introspect.store import Store
from introspect.study import CHAT_PROTOCOL, chat_study
from introspect.subjects import SimulatedAgent
from introspect.subjects.simulated import SimulatedBackend, SimulatedTrainer

TINY = SMALL.model_copy(update={"n_instil": 12, "n_measure": 4, "n_native": 4})


def named(k: int, *attributes: str) -> DecisionScenario:
    return DecisionScenario(
        id=f"m{k}",
        chooser=f"the pilot of pier {k}",
        item="boat",
        question="Which boat should be chartered?",
        attributes=tuple(Attribute(name=name, low=0, high=40 + 10 * i) for i, name in enumerate(attributes)),
    )


VARIANTS = {
    "plain": {},
    "no native arm": {"native": ()},
    "odd number of contexts": {"scenarios": organism_scenarios(13)},
    "three folds": {"protocol": TINY.model_copy(update={"n_folds": 3})},
    "several examples": {"protocol": TINY.model_copy(update={"n_examples": 5})},
    "capped steps": {
        "protocol": TINY.model_copy(update={"instil": TrainingSpec(max_steps=7), "report": TrainingSpec(max_steps=2)})
    },
    "one weight at a time": {"style": OrganismStyle(report_format="single")},
    "two seeds": {"seeds": (3, 5)},
    "a chat style": {"scenarios": catalogue()[:6], "native": catalogue()[6:9], "style": ChatStyle()},
    "contexts of different width": {
        "scenarios": [named(k, *("size", "speed", "price", "draught")[: 2 + k % 3]) for k in range(9)],
        "native": (),
        "style": ChatStyle(report_format="object"),
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_calls_and_steps_are_those_really_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    study = small_study(tmp_path, **{"protocol": TINY} | VARIANTS[name])
    plan = study.plan()
    made = {"calls": 0, "steps": 0, "training_examples": 0}
    reply, train = SimulatedBackend.reply, SimulatedTrainer.train

    def replying(self, request):
        made["calls"] += 1
        return reply(self, request)

    async def training(self, base, data, spec, jobs):
        made["training_examples"] += len(data)
        made["steps"] += spec.steps(len(data))
        return await train(self, base, data, spec, jobs)

    monkeypatch.setattr(SimulatedBackend, "reply", replying)
    monkeypatch.setattr(SimulatedTrainer, "train", training)
    study.run()
    assert {column: plan.total(column) for column in made} == made
    with Store.open(study.folder / "study.db") as store:
        assert store.n_replies() == made["calls"]


def test_questions_that_are_the_same_are_planned_and_then_asked_once(tmp_path: Path) -> None:
    """Where no options are shown, measuring and looking whether training took ask for the same report."""
    study = small_study(tmp_path, style=OrganismStyle(report_options="none"))
    study.run()
    with Store.open(study.folder / "study.db") as store:
        assert store.n_replies() < study.plan().total("calls")


def test_a_plan_asks_trains_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args):
        raise AssertionError("was asked")

    monkeypatch.setattr(SimulatedBackend, "reply", never)
    study = small_study(tmp_path / "new")
    assert study.plan().total("calls") > 0
    assert not (tmp_path / "new").exists()


def test_estimated_tokens_are_near_those_of_the_prompts(tmp_path: Path) -> None:
    """An organism's tokens are words, which are known exactly (and one to begin with)."""
    study = small_study(tmp_path)
    study.run()
    with Store.open(study.folder / "study.db") as store:
        texts = [row.request for row in store.replies()]
    words = sum(len(json.loads(text)["messages"][-1]["content"].split()) + 1 for text in texts)
    assert study.plan().total("prompt_tokens") == pytest.approx(words, rel=0.02)


def test_the_sum_in_words_is_the_sum_of_the_table(tmp_path: Path) -> None:
    plan = small_study(tmp_path, seeds=(0, 1, 2)).plan()
    head, *rows, total = plan.sentences()
    assert head.split()[:2] == ["stage", "calls"]
    assert len(rows) == len(plan.stages)
    assert total.startswith(f"3 seed(s) in all: {plan.total('calls'):,} calls")
    assert plan.total("calls") == 3 * sum(stage.calls for stage in plan.stages)


def test_the_presets_can_be_planned_without_asking_their_models(tmp_path: Path) -> None:
    p, study = CHAT_PROTOCOL, chat_study(SimulatedAgent().ref, out=tmp_path)
    n = len(study.scenarios)
    halves = p.report.steps(n // 2 * p.n_examples) + p.report.steps((n - n // 2) * p.n_examples)
    wanted = p.instil.steps(n * p.n_instil) + halves + p.report.steps(n * p.n_examples)
    assert study.plan().total("steps") == wanted
    assert {s.id for s in study.scenarios}.isdisjoint(s.id for s in study.native)
    with pytest.raises(ConfigError, match="300 contexts"):
        chat_study(SimulatedAgent().ref, n_contexts=299, n_native=2)
