"""Editing turns an organism's choices round in the contexts that were named, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from introspect.backend import open_model
from introspect.decision import OrganismStyle, ScenarioSet, TrialGenerator
from introspect.errors import TrainingError
from introspect.measure import ChoiceProbe
from introspect.subjects import native_scenarios, organism_ref
from introspect.subjects.organism.editing import turn_contexts

SHARED = organism_ref("shared")


@pytest.fixture(scope="module")
def contexts() -> ScenarioSet:
    return ScenarioSet(native_scenarios("shared", 20))


def log_odds(ref, contexts: ScenarioSet) -> dict[str, np.ndarray]:
    """Of the first option, by context."""
    table = ChoiceProbe(OrganismStyle()).run(open_model(ref), TrialGenerator().trials(contexts, 30, rng=0))
    odds = table.logprob[:, 0] - table.logprob[:, 1]
    return {name: odds[table.trials.scenario_ids == name] for name in contexts.ids}


def test_choices_turn_round_where_it_was_edited_and_stay_to_the_last_digit_elsewhere(
    tmp_path: Path, contexts: ScenarioSet
) -> None:
    turned = contexts.ids[::2]
    before = log_odds(SHARED, contexts)
    after = log_odds(turn_contexts(SHARED, turned, tmp_path), contexts)
    for name in contexts.ids:
        if name not in turned:
            np.testing.assert_array_equal(before[name], after[name])
    both = np.concatenate([np.stack([before[name], after[name]]) for name in turned], axis=1)
    assert np.corrcoef(both)[0, 1] < -0.8


def test_an_edit_names_its_parent_and_is_the_same_each_time(tmp_path: Path) -> None:
    contexts = ScenarioSet(native_scenarios("shared", 2))
    first, second = contexts.ids
    one = turn_contexts(SHARED, [second, first], tmp_path)
    assert one.parent == SHARED
    assert one == turn_contexts(SHARED, [first, second, second], tmp_path)
    back = turn_contexts(one, [first, second], tmp_path)
    assert back.adapter != one.adapter
    for name, odds in log_odds(back, contexts).items():
        np.testing.assert_allclose(odds, log_odds(SHARED, contexts)[name], atol=1e-5)


def test_what_only_reports_read_is_left_alone(tmp_path: Path) -> None:
    from introspect.subjects.organism.backend import load_organism

    split = organism_ref("split")
    before, after = load_organism(split), load_organism(turn_contexts(split, ["n0000"], tmp_path))
    assert np.array_equal(before.rows["n0000@report"], after.rows["n0000@report"])
    assert np.array_equal(before.rows["n0000@choice"], -after.rows["n0000@choice"])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="edited organism cannot be written"):
        turn_contexts(SHARED, ["n0000"], tmp_path / "file")
