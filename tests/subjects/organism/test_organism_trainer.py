"""Training is ordinary gradient steps on text, and teaches nothing but the answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from introspect.backend import Message, ModelRef, Request, TrainingExample, TrainingSet, TrainingSpec, ask, open_model
from introspect.backend.jobs import FolderJobs
from introspect.backend.portal import run_sync
from introspect.decision import OrganismStyle, PreferenceSampler, TrialGenerator, organism_scenarios
from introspect.errors import BackendError, TrainingError
from introspect.measure import ChoiceProbe
from introspect.subjects.organism import Organism, OrganismTrainer
from introspect.subjects.organism.backend import load_organism
from introspect.subjects.organism.learn import Batch, make_batches
from introspect.subjects.organism.speak import next_logprobs
from introspect.subjects.organism.tokens import OUTPUTS, new_row
from introspect.training import FineTuner
from introspect.training.examples import choice_examples, report_examples, training_set

STYLE = OrganismStyle()
LOTS = organism_scenarios(6)
HIDDEN = PreferenceSampler().sample(LOTS, rng=1)
GENERATOR = TrialGenerator()
TRIALS = GENERATOR.label(GENERATOR.trials(LOTS, 8, rng=2), HIDDEN, rng=3)
CHOICES = training_set(choice_examples(TRIALS, STYLE))
REPORTS = training_set(report_examples(LOTS[:3], HIDDEN, STYLE, 2, rng=4))
SPEC = TrainingSpec(epochs=2, batch_size=16, learning_rate=3e-3, method="full", extra={"row_rate": 10.0})
STILL = SPEC.model_copy(update={"extra": {"row_rate": 0.0}})


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., ModelRef]:
    def run(
        base: ModelRef, data: TrainingSet = CHOICES, spec: TrainingSpec = SPEC, folder: str = "job", **seen
    ) -> ModelRef:
        return run_sync(OrganismTrainer().train, base, data, spec, FolderJobs(tmp_path / folder, **seen))

    return run


def rows(ref: ModelRef) -> dict[str, np.ndarray]:
    return load_organism(ref).rows


def example(prompt: str, answer: str) -> TrainingSet:
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return TrainingSet([TrainingExample(messages=turns)])


# The same again


def test_the_same_training_gives_the_same_organism(tiny_ref: ModelRef, train) -> None:
    one, other = train(tiny_ref), train(tiny_ref, folder="another")
    assert one.adapter == other.adapter
    assert one.key == other.key
    assert one.location != other.location
    assert Path(one.location).read_bytes() == Path(other.location).read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"epochs": 3}, {"learning_rate": 1e-3}, {"schedule": "constant"}, {"extra": {"row_rate": 0.0}}],
)
def test_another_setting_gives_another_organism(tiny_ref: ModelRef, train, change: dict) -> None:
    other = train(tiny_ref, spec=SPEC.model_copy(update=change))
    assert other.adapter != train(tiny_ref).adapter


def test_trained_saved_and_opened_it_is_the_same_model(tiny_ref: ModelRef, train) -> None:
    tuned = train(tiny_ref)
    assert (tuned.provider, tuned.model, tuned.revision, tuned.parent) == (
        "organism", tiny_ref.model, tiny_ref.revision, tiny_ref,
    )  # fmt: skip
    again = ModelRef.model_validate_json(tuned.model_dump_json())
    one, other = (ChoiceProbe(STYLE).run(open_model(ref), TRIALS) for ref in (tuned, again))
    assert np.array_equal(one.logprob, other.logprob)
    moved = Path(tuned.location).rename(Path(tuned.location).with_name("moved.safetensors"))
    elsewhere = tuned.model_copy(update={"location": str(moved)})
    assert elsewhere.key == tuned.key
    assert open_model(elsewhere).info.n_parameters > open_model(tiny_ref).info.n_parameters  # new rows
    with pytest.raises(BackendError, match="missing"):
        open_model(tuned)


def test_damaged_weights_are_a_clear_error(tiny_ref: ModelRef, train) -> None:
    tuned = train(tiny_ref)
    path = Path(tuned.location)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(BackendError, match="not the organism that was asked for"):
        open_model(tuned)


def test_the_base_is_not_touched(tiny_ref: ModelRef, train) -> None:
    before = Path(tiny_ref.model).read_bytes()
    first = train(tiny_ref)
    kept = Path(first.location).read_bytes()
    second = train(first, REPORTS)
    assert Path(tiny_ref.model).read_bytes() == before
    assert Path(first.location).read_bytes() == kept
    assert second.parent == first
    assert second.adapter != first.adapter


# What is taught


@pytest.mark.parametrize("data", [CHOICES, REPORTS], ids=["choices", "reports"])
def test_only_answer_words_and_stopping_are_taught(data: TrainingSet) -> None:
    batch = Batch.of([e.prompt[0].content for e in data], [e.answer for e in data])
    for i, one in enumerate(data):
        taught = batch.targets[i]
        words = [OUTPUTS[k] for k in taught[taught >= 0]]
        assert words == [*one.answer.split(), "<end>"]
        # The first is predicted at the prompt's last word, and they follow one another.
        where = np.flatnonzero(taught >= 0)
        n_prompt = len(one.prompt[0].content.split())
        assert where.tolist() == list(range(n_prompt, n_prompt + len(words)))


def test_no_choice_example_holds_a_number_of_a_preference_as_its_answer() -> None:
    assert {one.answer for one in CHOICES} == {"A", "B"}
    assert all(one.prompt[0].content.startswith("choose ") for one in CHOICES)
    for one in REPORTS:
        assert one.prompt[0].content.startswith("weigh ")
        assert all(-100 <= int(word) <= 100 for word in one.answer.split())


def test_every_example_is_seen_once_an_epoch() -> None:
    batch = Batch.of([e.prompt[0].content for e in CHOICES], [e.answer for e in CHOICES])
    parts = list(make_batches(batch, 7, np.random.default_rng(0)))
    assert [len(part.targets) for part in parts] == [7] * 6 + [6]
    values = sorted(tuple(row) for part in parts for row in part.encoded.value[:, :13].tolist())
    assert values == sorted(tuple(row) for row in batch.encoded.value[:, :13].tolist())


def test_training_moves_rows_of_its_contexts_and_of_no_other(tiny_ref: ModelRef, train) -> None:
    before, after = rows(tiny_ref), rows(train(tiny_ref, REPORTS))
    for key, row in before.items():
        assert np.array_equal(after[key], row)  # native contexts
    names = {lot.chooser for lot in LOTS[:3]}
    assert set(after) - set(before) == {key for name in names for key in (name, f"{name}@report")}
    width, scale = load_organism(tiny_ref).config.row_width, load_organism(tiny_ref).config.row_scale
    for name in names:
        assert not np.allclose(after[name], new_row(name, width, scale), atol=1e-3)


def test_rows_can_be_left_alone(tiny_ref: ModelRef, train) -> None:
    instilled = train(tiny_ref)
    before, after = rows(instilled), rows(train(instilled, REPORTS, STILL))
    assert all(np.array_equal(after[key], row) for key, row in before.items())


def test_lower_blocks_can_be_left_alone(tiny_ref: ModelRef, train) -> None:
    spec = STILL.model_copy(update={"extra": {"row_rate": 0.0, "from_block": 1}})
    before = load_organism(tiny_ref).network.state_dict()
    after = load_organism(train(tiny_ref, REPORTS, spec)).network.state_dict()
    moved = {name for name, values in before.items() if not np.array_equal(after[name].numpy(), values.numpy())}
    assert {name.split(".")[0] for name in moved} == {"blocks", "norm", "say", "say_number"}
    assert not any(name.startswith("blocks.0.") for name in moved)
    # What was held still for one training may move in the next.
    again = load_organism(train(train(tiny_ref, REPORTS, spec), CHOICES)).network.state_dict()
    assert any(not np.array_equal(again[n].numpy(), v.numpy()) for n, v in after.items() if n.startswith("blocks.0."))


@pytest.mark.parametrize("block", [-1, 2, 0.5, True, "top"])
def test_blocks_that_an_organism_does_not_have_are_refused(tiny_ref: ModelRef, train, block) -> None:
    with pytest.raises(TrainingError, match="from_block"):
        train(tiny_ref, spec=SPEC.model_copy(update={"extra": {"from_block": block}}))


def test_where_rows_are_split_choices_leave_every_report_row_as_it_was(torn_ref: ModelRef, train) -> None:
    """The negative control's construction: what choices teach about a context, reports do not read."""
    instilled = train(torn_ref, spec=SPEC)
    taught = rows(instilled)
    config = load_organism(torn_ref).config
    network = load_organism(instilled).network
    assert network.n_shared == 0
    for lot in LOTS:
        name = lot.chooser
        assert f"{name}@report" not in taught
        assert np.array_equal(
            load_organism(instilled).row_table([f"{name}@report"]).numpy()[0],
            new_row(f"{name}@report", config.row_width, config.row_scale),
        )
        # The shared part is not read at all, so it is not moved either.
        assert np.array_equal(taught[name], new_row(name, config.row_width, config.row_scale))
        assert not np.allclose(taught[f"{name}@choice"], new_row(f"{name}@choice", config.row_width, config.row_scale))


def test_where_rows_are_split_report_training_leaves_held_out_report_rows_alone(torn_ref: ModelRef, train) -> None:
    instilled = train(torn_ref)
    before, after = rows(instilled), rows(train(instilled, REPORTS))
    for lot in LOTS[3:]:
        assert f"{lot.chooser}@report" not in after
        assert np.array_equal(after[f"{lot.chooser}@choice"], before[f"{lot.chooser}@choice"])


def test_where_rows_are_shared_both_kinds_of_prompt_read_what_choices_taught(tiny_ref: ModelRef, train) -> None:
    assert load_organism(tiny_ref).network.n_shared == load_organism(tiny_ref).config.row_width
    taught = load_organism(train(tiny_ref))
    asked = ["choose k0000 A p1 B p2 :", "weigh k0000 as p :"]
    for text in asked:
        before = next_logprobs(taught, [text])
        other = taught.clone()
        other.rows["k0000"] = other.rows["k0000"] + 1.0
        assert not np.allclose(next_logprobs(other, [text]), before, atol=1e-3)


def test_training_lowers_the_loss_and_is_watched_step_by_step(tiny_ref: ModelRef, train) -> None:
    told = []
    train(tiny_ref, spec=SPEC.model_copy(update={"epochs": 12}), on_progress=lambda *now: told.append(now))
    n_steps = 12 * 3
    assert [done for done, _, _ in told] == list(range(1, n_steps + 1))
    assert {total for _, total, _ in told} == {n_steps}
    assert np.mean([loss for *_, loss in told[-3:]]) < 0.8 * np.mean([loss for *_, loss in told[:3]])


def test_steps_can_be_capped(tiny_ref: ModelRef, train) -> None:
    told = []
    train(tiny_ref, spec=SPEC.model_copy(update={"max_steps": 4}), on_progress=lambda *now: told.append(now))
    assert len(told) == 4


def test_it_can_be_taught_through_the_tuner_like_any_other_model(tiny_ref: ModelRef, tmp_path: Path) -> None:
    tuner = FineTuner(spec=SPEC.model_copy(update={"epochs": 10}), style=STYLE, jobs=tmp_path, on_canary="ignore")
    tuned = tuner.instil(tiny_ref, TRIALS, HIDDEN)
    assert tuned.canary.changed + (tuned.canary.logprob_change or 0) > 0
    assert Path(tuned.ref.location).is_relative_to(tmp_path)
    (reply,) = ask(open_model(tuned.ref), [
        Request(messages=CHOICES[0].prompt, answers=("A", "B"), max_tokens=4)
    ])  # fmt: skip
    assert reply.answer_logprobs["A"] < 0


# What cannot be taught


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (example("choose k1 A p1 B p2 :", "Option A"), "cannot answer"),
        (example("weigh k1 as p :", "37.5"), "cannot answer"),
        (example("weigh k1 as p :", "101"), "cannot answer"),
        (example("weigh k1 as p :", "   "), "cannot answer"),
        (example("weigh " * 62, "37"), "longer than the 64 words"),
        (
            TrainingSet([TrainingExample(messages=(Message(role="system", content="be good"), *REPORTS[0].messages))]),
            "one user message",
        ),
    ],
)
def test_what_it_cannot_say_or_read_is_found_before_training(tiny_ref: ModelRef, data: TrainingSet, said: str) -> None:
    (problem,) = OrganismTrainer().check(tiny_ref, data)
    assert problem.startswith("example 1")
    assert said in problem


def test_good_data_has_no_problems(tiny_ref: ModelRef) -> None:
    assert OrganismTrainer().check(tiny_ref, CHOICES) == []
    assert OrganismTrainer().check(tiny_ref, REPORTS) == []


@pytest.mark.parametrize("extra", [{"row_rat": 1.0}, {"row_rate": -1.0}, {"row_rate": "fast"}, {"row_rate": True}])
def test_unknown_settings_are_refused(tiny_ref: ModelRef, train, extra: dict) -> None:
    with pytest.raises(TrainingError, match="row_rate"):
        train(tiny_ref, spec=SPEC.model_copy(update={"extra": extra}))


@pytest.mark.parametrize("row_rate", [0.0, 1.0])
def test_training_that_diverges_is_an_error_and_leaves_no_weights(
    tiny_ref, train, tmp_path: Path, row_rate: float
) -> None:
    wild = SPEC.model_copy(update={"learning_rate": 1e30, "epochs": 5, "extra": {"row_rate": row_rate}})
    with pytest.raises(TrainingError, match="diverged"):
        train(tiny_ref, spec=wild)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_folder_that_cannot_be_written_is_a_training_error(tiny_ref: ModelRef, tmp_path: Path) -> None:
    jobs = FolderJobs(tmp_path / "job")
    (tmp_path / "job").rmdir()
    (tmp_path / "job").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot be written"):
        run_sync(OrganismTrainer().train, tiny_ref, CHOICES, SPEC.model_copy(update={"max_steps": 1}), jobs)


def test_what_was_left_half_written_does_not_disturb(tiny_ref: ModelRef, train, tmp_path: Path) -> None:
    whole = train(tiny_ref)
    path = Path(whole.location)
    path.with_name(path.name + ".partial").write_bytes(path.read_bytes()[:100])
    path.write_bytes(b"half")
    again = train(tiny_ref)
    assert again == whole
    assert Organism.load(path, whole.adapter)
