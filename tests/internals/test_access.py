"""Self against other, with the controls that tell knowledge from shared coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from small_internals import KINDS, WORDS

from introspect.internals.access import alignment, privileged_access, rotation, taught_on
from introspect.internals.explainer import ExplainerSpec
from introspect.internals.planted import PlantedSpec, build_planted
from introspect.internals.tiny import tiny_target


@pytest.fixture(scope="module")
def report():
    one = tiny_target(kinds=KINDS, words=WORDS)
    other = tiny_target("gpt2", kinds=KINDS, words=WORDS, width=48, seed=5)
    table = build_planted(one, PlantedSpec(seen=5, directions=3, test=2, words=2, layer=0))
    texts = [f"{a} and {b}" for a in KINDS["color"] for b in KINDS["fruit"]]
    return privileged_access(
        one, table, ExplainerSpec(epochs=1), {"other": other}, retrieval=4, sizes=(4,), texts=texts
    )


def test_every_arm_and_control_is_reported_beside_self(report):
    arms = ["self", "self, rotated", "other", "other, aligned", "no vector", "shuffled vector"]
    assert list(report.scores) == arms
    assert list(report.against) == arms[1:]
    assert [row["explainer"] for row in report.rows()] == arms
    assert len(report.sentences()) == 16


@pytest.mark.slow
def test_an_explainer_that_is_trained_whole_learns_in_any_coordinates_and_from_nothing_learns_nothing():
    one = tiny_target(kinds=KINDS)
    table = build_planted(one, PlantedSpec(seen=12, directions=12, test=4, words=2, layer=0))
    spec = ExplainerSpec(method="full", epochs=10, learning_rate=0.01, weight_rate=5e-3, layer="embedding", mode="unit")
    report = privileged_access(one, table, spec, {}, retrieval=8)
    scores = {name: s.figures["retrieval"].value for name, s in report.scores.items()}
    assert scores["self, rotated"] > scores["no vector"] + 0.3


def test_the_curve_has_every_control_at_each_size(report):
    assert [(row["rows"], row["explainer"]) for row in report.scaling] == [
        (4, name) for name in ("self", "self, rotated", "other", "other, aligned")
    ]
    for row in report.scaling:
        assert (row["self minus it"] is None) == (row["explainer"] == "self")


def test_fewer_rows_are_no_less_training():
    table = build_planted(tiny_target(kinds=KINDS), PlantedSpec(seen=4, directions=6, test=2, words=2, layer=0))
    few, longer = taught_on(table, ExplainerSpec(epochs=3), 8)
    assert (len(few.of("train")), longer.epochs) == (8, 9)
    assert few.of("test").counts() == table.of("test").counts()
    taught = {row.key for row in few.of("train").rows}
    assert taught < {row.key for row in table.of("train").rows}
    assert {row.key for row in taught_on(table, ExplainerSpec(), 4)[0].of("train").rows} < taught


def test_a_rotation_keeps_lengths_and_angles():
    q, v = rotation(24, 3), np.random.default_rng(0).normal(size=(9, 24)).astype(np.float32)
    np.testing.assert_allclose((v @ q.T) @ (v @ q.T).T, v @ v.T, atol=1e-4)


def test_a_model_is_aligned_with_itself_and_not_with_a_stranger():
    one, twin, stranger = tiny_target(width=16), tiny_target(width=16), tiny_target(width=16, seed=9)
    texts = [f"{a} {b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghij"]
    assert alignment(one, twin, 0, 0, texts)[1] > 0.4
    assert alignment(one, twin, 0, 0, texts)[1] > alignment(one, stranger, 0, 0, texts)[1]
