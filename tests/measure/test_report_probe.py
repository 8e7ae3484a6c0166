"""Asking a model for its weights."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from introspect.backend import FunctionBackend, Reply
from introspect.decision.generator import TrialGenerator
from introspect.decision.prompt import ChatMessage
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.errors import ConfigError, ScenarioError
from introspect.measure import AccuracyMetric, ChoiceModel, SelfReportProbe

STYLE = OrganismStyle()
SCENARIOS = organism_scenarios(15)
PREFERENCES = PreferenceSampler().sample(SCENARIOS, rng=0)


def teller(style=STYLE, seen=None):
    """A model that knows its weights and says them in whatever format it is asked."""
    ids = {s.chooser: s.id for s in SCENARIOS}

    def answer(request):
        content = style.read([ChatMessage(m.role, m.content) for m in request.messages])
        if seen is not None:
            seen.append((request, content))
        return style.answer_report(content, PREFERENCES[ids[content.chooser]].weights)

    return FunctionBackend(answer, name="teller", version="1")


def constant(*replies):
    count = iter(range(10**6))
    return FunctionBackend(lambda request: replies[next(count) % len(replies)], name="constant", version="1")


def test_a_model_that_tells_its_weights_is_heard():
    table = SelfReportProbe(STYLE, k=3).run(teller(), SCENARIOS, rng=0)
    assert table.response_rate == 1.0
    assert table.mean() == {s.id: PREFERENCES[s.id].weights for s in SCENARIOS}
    assert table.model == teller().info.key


@pytest.mark.parametrize("report_format", ["single", "object"])
@pytest.mark.parametrize("options", ["shown", "none"])
def test_every_format_with_signs_tells_the_same_weights(report_format, options):
    style = OrganismStyle(report_format=report_format, report_options=options)
    probe = SelfReportProbe(style, k=2, options="fresh" if options == "shown" else "none")
    table = probe.run(teller(style), SCENARIOS[:3], rng=0)
    assert table.mean() == {s.id: PREFERENCES[s.id].weights for s in SCENARIOS[:3]}
    assert [len(texts) for texts in table.text] == [5 if report_format == "single" else 1] * 6


@pytest.mark.parametrize("report_format", ["ranking", "comparison"])
def test_formats_without_signs_are_scored_by_magnitude(report_format):
    style = OrganismStyle(report_format=report_format)
    table = SelfReportProbe(style, k=2).run(teller(style), SCENARIOS, rng=0)
    assert not table.signed
    accuracy = AccuracyMetric(n_boot=50, n_null=99).score(table, PREFERENCES, rng=0)
    assert accuracy.pooled_r > 0.8
    assert accuracy.top_agreement == 1.0
    assert "sign_agreement" in accuracy.reasons


def test_each_repeat_shows_options_of_its_own_and_they_are_kept():
    seen = []
    table = SelfReportProbe(STYLE, k=6).run(teller(seen=seen), SCENARIOS[:2], rng=0)
    shown = [content.options for _, content in seen]
    assert len(set(shown)) == 12
    assert [trial.values for trial in table.shown] == shown
    bare = OrganismStyle(report_options="none")
    assert SelfReportProbe(bare, k=2, options="none").run(teller(bare), SCENARIOS[:2], rng=0).shown == (None,) * 4


def test_the_prompts_of_a_scenario_do_not_depend_on_the_others():
    probe = SelfReportProbe(STYLE, k=4)
    many, one = probe.run(teller(), SCENARIOS, rng=3), probe.run(teller(), SCENARIOS[5:6], rng=3)
    assert many.select([SCENARIOS[5].id]).shown == one.shown
    assert probe.run(teller(), SCENARIOS, rng=4).shown != many.shown


def test_the_options_shown_are_not_the_trials_of_an_equal_seed():
    table = SelfReportProbe(STYLE, k=10).run(teller(), SCENARIOS[:1], rng=0)
    choices = {trial.values for _, trial in TrialGenerator().trials(SCENARIOS[:1], 10, rng=0)}
    assert not choices & {trial.values for trial in table.shown}


def test_incomplete_reports_are_kept_counted_and_never_averaged():
    model = constant(
        Reply(status="completed", text="10 20 30 40 50"),
        Reply(status="completed", text="10 20"),
        Reply(status="completed", text="10 20 30 40 101"),
        Reply(status="failed", reason="503"),
        Reply(status="filtered", text="1 2 3 4 5"),
        Reply(status="truncated", text="10 20 30"),
        Reply(status="completed", text="no idea"),
    )
    table = SelfReportProbe(STYLE, k=7).run(model, SCENARIOS[:1], rng=0)
    assert int(table.valid.sum()) == 1
    assert table.status.tolist()[3:6] == ["failed", "filtered", "truncated"]
    assert table.status[2] == "out_of_range"
    assert list(table.mean()[SCENARIOS[0].id].values()) == [10, 20, 30, 40, 50]
    assert table.text[6] == ("no idea",)
    assert "503" in table.problems[3]
    assert table.response_rate == pytest.approx(1 / 7)


def test_one_silent_answer_makes_a_report_of_several_prompts_incomplete():
    style = OrganismStyle(report_format="single")
    model = constant("10", "20", "30", Reply(status="failed", reason="lost"), "50")
    table = SelfReportProbe(style, k=1).run(model, SCENARIOS[:1], rng=0)
    assert table.statuses() == {"failed": 1}
    assert table.mean() == {}
    assert table.text[0][2] == "30"


def test_repeats_are_told_apart_and_sampled_with_their_own_seed():
    seen = []
    SelfReportProbe(STYLE, k=3, temperature=1.0).run(teller(seen=seen), SCENARIOS[:2], rng=0)
    requests = [request for request, _ in seen]
    assert [request.sample_index for request in requests] == [0, 1, 2] * 2
    assert len({request.seed for request in requests}) == 6
    greedy = []
    SelfReportProbe(STYLE, k=1).run(teller(seen=greedy), SCENARIOS[:1], rng=0)
    assert greedy[0][0].seed is None


def test_it_works_inside_a_running_loop_and_has_an_async_twin():
    async def notebook():
        probe = SelfReportProbe(STYLE, k=2)
        return probe.run(teller(), SCENARIOS[:2], rng=1), await probe.arun(teller(), SCENARIOS[:2], rng=1)

    plain, twin = asyncio.run(notebook())
    assert plain == twin


def test_unusable_settings_and_scenarios_are_refused_before_anything_is_asked():
    for settings in ({"k": 0}, {"options": "stale"}, {"temperature": -1.0}):
        with pytest.raises(ConfigError):
            SelfReportProbe(STYLE, **settings)
    asked = []
    model = FunctionBackend(lambda request: asked.append(1) or "", name="x", version="1")
    with pytest.raises(ScenarioError, match="distinct ids"):
        SelfReportProbe(STYLE, k=1).run(model, [SCENARIOS[0], SCENARIOS[0]], rng=0)
    assert not asked


def test_choices_and_reports_of_an_honest_model_agree():
    def honest(request):
        content = STYLE.read([ChatMessage(m.role, m.content) for m in request.messages])
        scenario = next(s for s in SCENARIOS if s.chooser == content.chooser)
        if content.kind == "report":
            return STYLE.answer_report(content, PREFERENCES[scenario.id].weights)
        return "AB"[int(np.argmax(PREFERENCES[scenario.id].utility(scenario, content.options)))]

    from introspect.measure import ChoiceProbe

    model = FunctionBackend(honest, name="honest", version="1")
    trials = TrialGenerator().trials(SCENARIOS, 80, rng=0)
    weights = ChoiceModel().fit(ChoiceProbe(STYLE).run(model, trials))
    reports = SelfReportProbe(STYLE, k=2).run(model, SCENARIOS, rng=0)
    accuracy = AccuracyMetric(n_boot=200, n_null=199).score(reports, weights, rng=0)
    assert accuracy.pooled_r > 0.97
    assert accuracy.coverage == 1.0
    assert accuracy.p == pytest.approx(1 / 200)
