"""Each task with a vector, whole, on tiny random models: built, trained, asked, scored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_internals import FACTS, KINDS, WORDS

from introspect.cli import main
from introspect.errors import ConfigError, MeasureError, SelfTestError
from introspect.internals.config import InternalsConfig
from introspect.internals.dictionary import Dictionary, DictionarySpec, train_dictionary
from introspect.internals.explainer import ExplainerSpec
from introspect.internals.explainer_training import train_explainer
from introspect.internals.features import (
    FeaturesSpec,
    build_features,
    detection_f1,
    recompute_features,
    simulator_correlation,
)
from introspect.internals.patching import PatchingSpec, build_patching, recompute_patching
from introspect.internals.planted import PlantedSpec, build_planted, recompute_planted
from introspect.internals.questions import QUESTIONS
from introspect.internals.row_table import Row, RowTable
from introspect.internals.simulators import simulator_named
from introspect.internals.study import InternalsStudy
from introspect.internals.tiny import tiny_target
from introspect.internals.word_lists import Fact, Relation

LEARNS = {"method": "full", "epochs": 6, "learning_rate": 0.01, "weight_rate": 5e-3}
LEARNS |= {"layer": "embedding", "mode": "unit"}


@pytest.fixture(scope="module")
def target():
    return tiny_target("llama", kinds=KINDS, words=WORDS)


@pytest.fixture(scope="module")
def planted(target, tmp_path_factory):
    config = InternalsConfig.of({
        "task": "planted", "planted": {"seen": 12, "directions": 12, "test": 4, "words": 2, "layer": 0},
        "train": LEARNS, "retrieval": 8, "baselines": ["zero-shot", "nearest neighbour", "majority", "one more run"],
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("planted")
    study = InternalsStudy(config, folder, target)
    return study, study.eval()


def test_a_taught_explainer_beats_every_floor_on_planted_directions(planted):
    _, result = planted
    for floor in ("no vector, test", "shuffled vector, test", "zero-shot, test", "majority, test"):
        difference = result.against[floor]["retrieval"]
        assert difference.value > 0.3
        assert difference.interval.low > 0
    assert result.arms["nearest neighbour"]["test"].figures["retrieval"].value == 1
    assert result.arms["one more run"]["test"].figures["exact"].value == 1


def test_directions_of_kinds_that_were_never_taught_are_told_apart_in_the_result(planted):
    _, result = planted
    assert set(result.arms["explainer"]) == {"test", "unseen"}
    assert result.counts["unseen"] > 0


def test_no_test_direction_shares_a_word_with_a_training_direction(planted):
    study, _ = planted
    table = study.build()
    words = {split: {w for row in table.of(split).rows for w in row.more["words"]} for split in ("train", "test")}
    assert not words["train"] & words["test"]


@pytest.fixture(scope="module")
def small(target):
    return build_planted(target, PlantedSpec(seen=4, directions=3, test=2))


def test_the_target_is_never_changed_by_training(target, small):
    before = {name: value.clone() for name, value in target.model.state_dict().items()}
    for method in ("map+lora", "full"):
        made = train_explainer(target, small, QUESTIONS["planted"], ExplainerSpec(method=method, epochs=1, lora_rank=2))
        learned = {n: p for n, p in made.explainer.target.model.named_parameters() if p.requires_grad}
        assert learned
        assert all(p.grad is not None for p in learned.values())
    after = target.model.state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_finished_study_is_found_again_and_gives_the_same_result(planted, target, monkeypatch):
    study, result = planted
    monkeypatch.setattr("introspect.internals.study.train_explainer", lambda *_, **__: 1 / 0)
    again = InternalsStudy(study.config, study.folder, target).eval()
    assert again.rows() == result.rows()


def test_trained_weights_are_restored_from_the_folder_exactly(planted, target):
    from introspect.store import Store

    study, _ = planted
    table = study.build()
    test = study._test(table)
    with Store.open(study.folder / "study.db") as store:
        again = InternalsStudy(study.config, study.folder, target)._train(store, table, "explainer").explainer
    asked = study._asker(table).ask(again, test)
    assert asked.said == study.explain()["explainer"].said


def test_the_folder_holds_result_page_and_manifest(planted):
    from introspect.store import Store

    study, result = planted
    told = json.loads((study.folder / "result.json").read_text())
    assert told["rows"] == result.rows()
    assert "| explainer | test | retrieval among 8 |" in (study.folder / "result.md").read_text()
    with Store.open(study.folder / "study.db") as store:
        assert store.manifest["internals"]["task"] == "planted"
        (run,) = store.manifest["surroundings"]
        assert {"torch", "transformers"} <= set(run["packages"])
    weights = study.target.identity.revision
    assert told["provenance"]["weights"] == weights
    assert told["made with"]["model"] == f"memory/LlamaForCausalLM, {weights[:19]}"
    assert told["made with"]["machine"].endswith(run["machine"])
    assert f"| model | memory/LlamaForCausalLM, {weights[:19]} |" in (study.folder / "result.md").read_text()
    assert weights[:19] in " ".join(result.sentences())


def test_the_card_of_the_run_names_task_model_weights_and_machine(planted, capsys):
    study, _ = planted
    assert main(["report", str(study.folder), "--manifest", "introspect internals eval planted"]) == 0
    card = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[2:-1])
    assert card["command"] == "introspect internals eval planted"
    assert card["settings"].startswith("planted, sha256:")
    assert card["model"] == f"memory/LlamaForCausalLM, {study.target.identity.revision[:19]}"
    assert {"machine", "packages", "date", "seeds"} <= set(card)


def test_rows_of_one_model_are_not_taken_for_those_of_another(tmp_path):
    """In memory two models may look alike; what tells them apart are their weights."""
    config = InternalsConfig.of({"task": "planted", "planted": {"seen": 4, "directions": 2, "test": 1}, "recheck": 0})
    one, again, other = (
        InternalsStudy(config, tmp_path, tiny_target(kinds=KINDS, words=WORDS, seed=n)).build().vectors
        for n in (0, 0, 7)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_study_refuses_to_report_where_a_vector_reaches_nothing(target, tmp_path):
    config = InternalsConfig.of({"task": "planted", "train": {"layer": target.n_layers - 1}})
    with pytest.raises(SelfTestError, match="Nothing is reported"):
        InternalsStudy(config, tmp_path, target).eval()
    assert not (tmp_path / "result.json").exists()


def test_rows_computed_anew_are_the_rows_and_changed_ones_are_found_out(target, small):
    assert small.recheck(lambda some: recompute_planted(target, some), 10).different == ()
    wrong = RowTable(small.task, small.rows, small.vectors + 0.1, small.provenance)
    assert len(wrong.recheck(lambda some: recompute_planted(target, some), 10).different) == 10


def test_a_group_is_never_on_both_sides_of_a_split():
    rows = tuple(Row(str(i), "same", split, {}, "x") for i, split in enumerate(("train", "test")))
    with pytest.raises(MeasureError, match="both sides of the split"):
        RowTable("planted", rows, None, {})


@pytest.fixture(scope="module")
def patched(target):
    return build_patching(target, PatchingSpec(pairs=24, blocks=2, only_right=False, most=10.0), FACTS)


def test_patched_rows_equal_whole_runs_with_the_patch_one_by_one(target, patched):
    assert len(patched) > 40
    assert patched.recheck(lambda some: recompute_patching(target, some), 30).different == ()


def test_subjects_of_test_rows_occur_in_no_training_row(patched):
    seen = {split: {row.more[k] for row in patched.of(split).rows for k in ("subject", "other")}
            for split in ("train", "test")}  # fmt: skip
    assert seen["test"]
    assert not seen["train"] & seen["test"]


def test_a_relation_that_is_never_taught_is_reported_apart(target):
    lies_in = Relation("country", "The city of {subject} lies in", "")
    known = (*FACTS, *(Fact(fact.answer, lies_in, fact.subject) for fact in FACTS))
    spec = PatchingSpec(pairs=24, blocks=2, only_right=False, most=10.0, test=0.5, unseen=("country",))
    table = build_patching(target, spec, known)
    relations = {split: {row.more["relation"] for row in table.of(split).rows} for split in ("train", "test", "unseen")}
    assert relations == {"train": {"capital"}, "test": {"capital"}, "unseen": {"country"}}


def test_the_other_subject_is_hidden_from_the_question(patched):
    for row in patched.rows[:40]:
        assert str(row.more["other"]) not in QUESTIONS["patching"].text(row)


def test_a_patch_of_the_last_stretch_at_the_last_position_gives_the_other_run_its_say(target):
    """After the last block nothing follows: the next word is that of the averaged stream of the other run."""
    table = build_patching(target, PatchingSpec(pairs=30, blocks=2, only_right=False, most=1e9), FACTS)
    last = [row for row in table.rows if row.part == "last" and row.layer == 1]
    assert last
    other = {row.more["other"]: row.truth for row in last}
    assert all(row.truth == other[row.more["other"]] for row in last)


def test_a_model_that_gets_nothing_right_is_told_so(target):
    with pytest.raises(MeasureError, match="gets 0 of 14 facts right"):
        build_patching(target, PatchingSpec(pairs=10), FACTS)


def test_the_patching_task_runs_whole(target, tmp_path, monkeypatch):
    monkeypatch.setattr("introspect.internals.patching.facts", lambda _: FACTS)
    config = InternalsConfig.of({
        "task": "patching", "patching": {"pairs": 20, "blocks": 2, "only_right": False, "most": 10},
        "train": {"epochs": 1, "map": "low-rank"}, "most_test": 24,
    })  # fmt: skip
    result = InternalsStudy(config, tmp_path, target).eval()
    assert set(result.arms) == {"explainer", "shuffled vector", "no vector", "zero-shot", "few-shot", "SelfIE",
                                "nearest neighbour", "linear probe", "majority"}  # fmt: skip
    assert "changed F1" in result.arms["explainer"]["test"].figures
    assert {"changed", "unchanged"} & set(result.arms["explainer"]["test"].parts)
    assert result.recheck.n == 8
    assert result.recheck.different == ()


@pytest.fixture(scope="module")
def featured(target, tmp_path_factory):
    """The whole task, and what was built on the way."""
    made, asked = [], []

    def kept(*given, **more):
        made.append(build_features(*given, **more))
        return made[0]

    def judge(latent, contexts):
        asked.append(latent)
        return contexts[0] if len(asked) < 4 else None

    config = InternalsConfig.of({
        "task": "features", "simulator": "rule", "train": {"epochs": 1}, "retrieval": 5,
        "baselines": ["nearest neighbour", "majority"], "recheck": 2,
        "features": {"layer": 0, "texts": 160, "fewest": 5, "least": 0.6,
                     "dictionary": {"latents": 96, "k": 4, "epochs": 6, "batch_size": 128}},
    })  # fmt: skip
    study = InternalsStudy(config, tmp_path_factory.mktemp("features"), target, judge=judge)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("introspect.internals.study.build_features", kept)
        return study, study.eval(), made[0]


@pytest.fixture(scope="module")
def features(featured):
    """What rules labelled."""
    made = featured[2]
    ruled = [i for i, row in enumerate(made.table.rows) if row.part in ("token", "list")]
    return replace(made, table=made.table.take(ruled))


def test_latents_are_labelled_by_what_makes_them_speak(features):
    coverage = features.table.provenance["coverage"]
    assert coverage["speaking"] > 20
    assert len(features.table) > 10
    true = detection_f1(features, features.table, [row.truth for row in features.table.rows])
    wrong = detection_f1(features, features.table, ["a word that is nowhere"] * len(features.table))
    assert np.nanmean(true) > 0.4
    assert np.nanmax(wrong) == 0


def test_a_simulator_that_knows_the_rule_correlates_and_one_that_says_nothing_is_0(features):
    labels = [row.truth for row in features.table.rows]
    knows = simulator_correlation(features, features.table, labels, simulator_named("rule"))
    flat = simulator_correlation(features, features.table, labels, lambda label, words: np.ones(len(words)))
    unread = simulator_correlation(features, features.table, [None] * len(labels), simulator_named("rule"))
    assert np.nanmean(knows) > 0.3
    assert np.nanmax(np.abs(flat)) == np.nanmax(np.abs(unread)) == 0
    with pytest.raises(MeasureError, match="one finite number for each"):
        simulator_correlation(features, features.table, labels, lambda label, words: np.ones(3))


def test_an_unknown_simulator_is_named_before_any_work(target, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown simulator 'oracle'; known: .*rule"):
        InternalsStudy(InternalsConfig.of({"task": "features", "simulator": "oracle"}), tmp_path, target)
    with pytest.raises(ConfigError, match="for labels of features"):
        InternalsStudy(InternalsConfig.of({"task": "planted", "simulator": "rule"}), tmp_path, target)


def test_features_computed_anew_by_whole_runs_are_the_features(target, features):
    def again(some):
        return recompute_features(target, some, features.dictionary)

    assert features.table.recheck(again, 6).different == ()


@pytest.mark.parametrize("wrong", ["truth", "loud", "contexts", "vector"])
def test_a_feature_with_a_wrong_label_or_activation_is_named(target, features, wrong):
    rows, vectors = list(features.table.rows[:3]), features.table.vectors[:3].copy()
    row = rows[1]
    if wrong == "truth":
        rows[1] = replace(row, truth="elephants")
    elif wrong == "vector":
        vectors[1] = vectors[0]
    elif wrong == "loud":
        rows[1] = replace(row, more={**row.more, "loud": [1.01 * x for x in row.more["loud"]]})
    else:
        elsewhere = [[number, place - 1 or 2] for number, place in row.more["contexts"]]
        rows[1] = replace(row, more={**row.more, "contexts": elsewhere})
    table = RowTable("features", tuple(rows), vectors, features.table.provenance)
    found = table.recheck(lambda some: recompute_features(target, some, features.dictionary), 3)
    assert found.different == (row.key,)


def test_the_features_task_runs_whole_with_a_judge_and_a_simulator(featured, target):
    study, result, _ = featured
    assert (result.recheck.n, result.recheck.different) == (2, ())
    assert {"true label", "explainer", "no vector"} <= set(result.extra) == set(result.simulated)
    assert result.simulated["true label"].value > 0.3
    assert "simulator correlation with the label of" in (study.folder / "result.md").read_text()
    assert result.provenance["explained"] is not None
    assert result.provenance["coverage"]["judge"] > 0
    silent = InternalsStudy(
        study.config, study.folder, target, judge=study._judge, simulator=lambda label, words: np.zeros(len(words))
    )
    assert silent.eval().simulated["true label"].value == 0


def test_labels_can_come_from_a_file_and_latents_from_elsewhere(target, features, tmp_path):
    ready = features.dictionary
    (tmp_path / "labels.yaml").write_text("3: fruit\n5: color\n")
    spec = FeaturesSpec(layer=0, texts=20, labels=str(tmp_path / "labels.yaml"), test=0.5)
    made = build_features(target, spec, dictionary=ready)
    assert {(row.more["latent"], row.truth) for row in made.table.rows} == {(3, "fruit"), (5, "color")}
    assert np.array_equal(made.table.vectors, ready.decoder[[row.more["latent"] for row in made.table.rows]])
    (tmp_path / "labels.yaml").write_text(f"{len(ready.decoder)}: fruit\n")
    with pytest.raises(ConfigError, match="latents 0 to 95"):
        build_features(target, spec, dictionary=ready)
    with pytest.raises(MeasureError, match="vectors of 32 numbers"):
        build_features(tiny_target(width=16), spec, dictionary=ready)


def test_a_dictionary_survives_its_arrays_and_decodes_what_it_encodes():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
    vectors = 5 * directions[rng.integers(0, 16, 4000)]
    made = train_dictionary(vectors, DictionarySpec(latents=32, k=1, epochs=8, batch_size=100))
    again = Dictionary.of_arrays(made.arrays())
    places, loud = again.encode(vectors[:50])
    error = ((again.decode(places, loud) - vectors[:50]) ** 2).sum() / ((vectors[:50] - vectors.mean(0)) ** 2).sum()
    assert error < 0.1
