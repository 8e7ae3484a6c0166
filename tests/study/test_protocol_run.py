"""A step is run once; an edit redoes what it changes and says why; what fails does not stop the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_protocols import small_protocol

from introspect.errors import BackendError, ConfigError, StoreError
from introspect.store import Store
from introspect.study import ProtocolRun, backend_ref
from introspect.study.folder import differences, read_folder
from introspect.subjects import SimulatedAgent
from introspect.subjects.simulated import SimulatedBackend, SimulatedTrainer

MODEL = SimulatedAgent(name="small", report_sharing=1.0).ref


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the agent was really asked, of what, and trained."""
    count = {"choices": 0, "reports": 0, "trained": 0}
    reply, train = SimulatedBackend.reply, SimulatedTrainer.train

    def replying(self, request):
        count["choices" if request.messages[-1].content.startswith("choose") else "reports"] += 1
        return reply(self, request)

    async def training(self, *args):
        count["trained"] += 1
        return await train(self, *args)

    monkeypatch.setattr(SimulatedBackend, "reply", replying)
    monkeypatch.setattr(SimulatedTrainer, "train", training)
    return count


def reset(count: dict[str, int]) -> None:
    count.update(dict.fromkeys(count, 0))


def test_editing_how_reports_are_asked_for_asks_reports_and_nothing_else(tmp_path: Path, counted: dict) -> None:
    ProtocolRun(small_protocol(), MODEL, tmp_path).run()
    assert counted["trained"] == 4
    reset(counted)
    again = ProtocolRun(small_protocol().changed(report__ask__reports=3), MODEL, tmp_path).run()
    assert (counted["choices"], counted["trained"]) == (0, 0)
    # A third report in each of 4 tables of 12 contexts and 3 of 11; the first two are found among the replies.
    assert counted["reports"] == 4 * 12 + 3 * 11
    assert again.changes == ("report.ask.reports: 2 -> 3",)
    redone = {name: o.why for name, o in again.steps.items() if o.state == "computed"}
    assert len(redone) == 7
    assert all(name.endswith("reports") and why.endswith("k=2 -> k=3") for name, why in redone.items())


def test_editing_how_reports_are_trained_redoes_that_and_what_follows_and_says_why(tmp_path: Path, counted) -> None:
    ProtocolRun(small_protocol(), MODEL, tmp_path).run()
    reset(counted)
    again = ProtocolRun(small_protocol().changed(report__train__examples=2), MODEL, tmp_path).run()
    assert counted["trained"] == 3
    redone = {name.removeprefix("seed 0: "): o.why for name, o in again.steps.items() if o.state == "computed"}
    after = {"fold1: reports", "fold1: choices", "fold2: reports", "fold2: choices", "all: native reports"}
    assert set(redone) == {"train fold1", "train fold2", "train all", *after, "all: native choices"}
    assert redone["train fold1"] == "another training set"
    assert redone["fold1: reports"] == "another model"
    lines = again.sentences()
    assert lines[0] == "Changed since the last run: report.train.examples: 1 -> 2."
    assert any("train fold1: another training set" in line for line in lines)


def test_nothing_is_done_twice_and_the_result_is_the_same(tmp_path: Path, counted: dict) -> None:
    first = ProtocolRun(small_protocol("controls: [untuned, seeds]"), MODEL, tmp_path).run()
    reset(counted)
    again = ProtocolRun(small_protocol("controls: [untuned, seeds]"), MODEL, tmp_path).run()
    assert sum(counted.values()) == again.count("computed") == 0
    assert again.study.to_dict() == first.study.to_dict()
    assert [c.to_dict() for c in again.controls] == [c.to_dict() for c in first.controls]


def test_protocols_of_one_folder_share_what_they_have_in_common(tmp_path: Path, counted: dict) -> None:
    ProtocolRun(small_protocol(), MODEL, tmp_path).run()
    reset(counted)
    other = small_protocol().changed(name="other", measure__after_report_training=False)
    result = ProtocolRun(other, MODEL, tmp_path).run()
    assert sum(counted.values()) == result.count("computed") == 0
    assert "report-trained, weights after" not in result.study.arm_names
    assert set(read_folder(tmp_path).protocols) == {"small", "other"}
    assert (tmp_path / "other" / "protocol.yaml").exists()


def test_a_step_that_fails_is_told_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = SimulatedTrainer.train, []

    async def failing(self, base, data, spec, jobs):
        calls.append(len(data))
        if len(calls) == 3:  # the second fold's
            raise BackendError("the machine is on fire")
        return await train(self, base, data, spec, jobs)

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedTrainer, "train", failing)
        result = ProtocolRun(small_protocol(), MODEL, tmp_path).run()
    failed = result.steps["seed 0: train fold2"]
    assert (failed.state, failed.why) == ("failed", "the machine is on fire")
    assert result.steps["seed 0: fold2: reports"].state == "blocked"
    assert result.steps["seed 0: all: native reports"].state == "computed"
    assert "native-after" in result.study.arm_names
    assert "report-trained" not in result.study.arm_names
    assert any("train fold2: failed: the machine is on fire" in line for line in result.sentences())
    assert any("the machine is on fire" in line for line in read_folder(tmp_path).sentences())
    mended = ProtocolRun(small_protocol(), MODEL, tmp_path).run()
    assert {n for n, o in mended.steps.items() if o.state == "computed"} == {
        "seed 0: train fold2", "seed 0: fold2: reports", "seed 0: fold2: choices",
    }  # fmt: skip
    assert "report-trained" in mended.study.arm_names


def test_learned_targets_text_answers_and_explicit_splits_run(tmp_path: Path) -> None:
    halves = [[f"k{i:04d}" for i in range(12) if i % 2 == k] for k in (0, 1)]
    folds = [{"train": halves[0], "test": halves[1]}, {"train": halves[1], "test": halves[0]}]
    protocol = small_protocol().changed(
        report__train__folds=folds, report__train__targets="learned", measure__read="text",
        measure__estimator="unit-normal", instil__validation=3, draw__sides="as-drawn",
    )  # fmt: skip
    result = ProtocolRun(protocol, MODEL, tmp_path).run()
    assert result.count("failed") == result.count("blocked") == 0
    assert "seed 0: instilled: validation choices" in result.steps
    (row,) = [r for r in result.study.arms if r["name"] == "report-trained"]
    assert row["n_scenarios"] == 12


@pytest.mark.parametrize(
    ("more", "backend", "said"),
    [
        ("controls:\n  - grounding: {method: edit}\n", "simulated", "small.yaml, line 11: control 'grounding'"),
        (
            "controls:\n  - common-sense: {models: [nobody]}\n",
            "simulated",
            "line 11: control 'common-sense': --backend",
        ),
        ("draw: {options: 3}\n", "organism", "small.yaml, line 10: draw.options: organisms are grown on two options"),
        ("", "nowhere:x", "small.yaml, line 4: instil: nothing can be instilled in nowhere/x"),
    ],
)
def test_what_the_backend_cannot_do_is_refused_before_anything_runs(tmp_path: Path, more, backend, said) -> None:
    with pytest.raises(ConfigError) as caught:
        ProtocolRun(small_protocol(more), backend_ref(backend), tmp_path / "out")
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_folders_are_compared_by_settings_steps_and_results(tmp_path: Path) -> None:
    for name, reports in (("one", 2), ("two", 3)):
        ProtocolRun(small_protocol().changed(report__ask__reports=reports), MODEL, tmp_path / name).run()
    one, two = read_folder(tmp_path / "one"), read_folder(tmp_path / "two")
    assert differences(one, one) == []
    lines = differences(one, two)
    assert "small: report.ask.reports: 2 -> 3" in lines
    assert any(line.startswith("small: r of arm instilled: +") for line in lines)
    assert "step made from something else: seed 0: fold1: reports" in lines
    assert not any("choices" in line for line in lines)
    Store.open(tmp_path / "empty" / "study.db").close()
    with pytest.raises(StoreError, match="holds no run"):
        read_folder(tmp_path / "empty")


def test_everything_is_written_as_plain_json(tmp_path: Path) -> None:
    result = ProtocolRun(small_protocol("controls: [placebo]"), MODEL, tmp_path).run()
    found = json.loads((tmp_path / "small" / "result.json").read_text())
    assert found == json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["controls"][0]["word"] == "placebo"
    assert len(found["claims"]) == 3
