"""What a beginner gives by mistake is told in a line that says what to give instead."""

from __future__ import annotations

import pytest

from introspect import (
    BackendError,
    ChatStyle,
    ChoiceProbe,
    ConfigError,
    FunctionBackend,
    MeasureError,
    SimulatedAgent,
    Study,
    catalogue,
    open_model,
    plot_reports,
)

MODEL = FunctionBackend(lambda request: "A", name="always-a", version="1")


def test_a_study_of_what_is_no_reference_says_how_to_give_one(tmp_path):
    for wrong in ("gpt-4o", MODEL):
        with pytest.raises(ConfigError, match=r"needs a ModelRef, got .*\.info\.ref"):
            Study(wrong, catalogue()[:12], out=tmp_path)


def test_too_few_contexts_are_told_how_many_are_needed(tmp_path):
    with pytest.raises(ConfigError, match="Give at least 2"):
        Study(SimulatedAgent().ref, catalogue()[:1], out=tmp_path)


def test_a_name_alone_opens_nothing_and_the_error_shows_a_reference():
    with pytest.raises(BackendError, match=r"takes a ModelRef, got 'gpt-4o'.*provider='openai'"):
        open_model("gpt-4o")


def test_contexts_in_place_of_trials_are_told_apart():
    with pytest.raises(MeasureError, match=r"got ScenarioSet. Draw one: TrialGenerator"):
        ChoiceProbe(ChatStyle()).run(MODEL, catalogue()[:2])


def test_a_figure_of_the_wrong_thing_says_what_it_draws():
    pytest.importorskip("matplotlib")
    with pytest.raises(ConfigError, match="draws the result of a study, got str"):
        plot_reports("result.json")


def test_a_parameter_that_an_agent_does_not_have_is_told_with_the_nearest_one():
    with pytest.raises(BackendError, match="did you mean 'side_bias'"):
        SimulatedAgent(position_bias=3)
