"""Controls find what is there by construction, and say where they mean nothing."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_protocols import small_protocol

from introspect.backend import FunctionBackend, ModelRef
from introspect.decision import ChatStyle, PreferenceSampler, TrialGenerator, catalogue
from introspect.decision.prompt import ChatMessage
from introspect.measure import AccuracyMetric, Interval, SelfReportProbe
from introspect.study import Protocol, ProtocolRun, backend_ref
from introspect.study.claims import claims_of
from introspect.study.controls import CONTROLS, ControlContext, ControlResult, control
from introspect.study.controls.few_shot import ShotStyle
from introspect.study.controls.placebo import _lies
from introspect.subjects import SimulatedAgent

WORDS = (
    "controls: [untuned, placebo, few-shot, privileged, dose, temperature, seeds, trajectory, prompts, common-sense, "
    "rules, self-prediction, disposition]"
)


@pytest.fixture
def found(ran: dict[str, ControlResult]) -> dict[str, ControlResult]:
    return dict(ran)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ControlResult]:
    agent = SimulatedAgent(name="known", report_sharing=1.0, report_fidelity=0.3, report_half=10.0).ref
    protocol = small_protocol(WORDS).changed(contexts={"instilled": 20, "native": 0}, instil={"choices": 40})
    run = ProtocolRun(protocol, agent, tmp_path_factory.mktemp("controls")).run()
    assert run.count("failed") == run.count("blocked") == 0
    return {c.word: c for c in run.controls}


def test_every_control_has_a_table_a_question_and_a_sentence(found: dict[str, ControlResult]) -> None:
    assert set(found) == set(CONTROLS) - {"grounding"}
    assert found.pop("few-shot").state == found.pop("disposition").state == "not applicable"
    for result in found.values():
        assert result.state == "done"
        assert result.question.endswith("?")
        assert result.sentence.endswith(".")
        assert "undefined" not in result.sentence
        assert len(result.rows) >= 2
        assert len(result.sentences()) == len(result.rows) + 2


def test_a_row_without_r_says_why_and_one_of_few_contexts_how_few() -> None:
    weights = {f"k{i:02d}": {"p": 60.0 - 7 * i, "q": -20.0 + 3 * i, "s": 9.0 * i - 40} for i in range(12)}
    ctx = ControlContext(stages=SimpleNamespace(), seed=0, metric=AccuracyMetric(n_boot=99, n_null=99), options=None)
    few = {name: own if name < "k04" else dict.fromkeys(own, math.nan) for name, own in weights.items()}
    rows = (ctx.row("none", {}, weights), ctx.row("four", few, weights))
    none, four = ControlResult("prompts", "Why?", "done", rows=rows).sentences()[1:3]
    assert rows[0]["r"] is None
    assert rows[0]["why"]
    assert f"r undefined: {rows[0]['why']}" in none
    assert "why" not in rows[1]
    assert four.endswith("33% of the contexts could be scored")


def test_dose_shows_three_points_an_axis_and_the_study_s_own_is_one_of_them(found) -> None:
    rows = found["dose"].rows
    axes = list(dict.fromkeys(row["axis"] for row in rows))
    assert axes == ["examples", "epochs", "steps", "contexts", "reports"]
    for axis in axes:
        assert [row["axis"] for row in rows].count(axis) == 3
    whole = {row["axis"]: row["r"] for row in rows if row["condition"].endswith("100%")}
    assert len(set(whole.values())) == 1


def test_twins_of_an_agent_that_learns_in_closed_form_are_itself(found) -> None:
    first, *others = (row["r"] for row in found["seeds"].rows)
    assert others == pytest.approx([first] * 2)
    (twin,) = [row for row in found["privileged"].rows if str(row["condition"]).startswith("twin")]
    assert twin["rise"] == pytest.approx(0.0)
    assert found["privileged"].verdict == "no margin"


def test_a_regression_knows_more_of_a_simple_agent_than_it_says_itself(found) -> None:
    rows = {str(row["condition"]): row for row in found["privileged"].rows}
    assert rows["regression on its choices"]["r"] > rows["itself"]["r"]


def test_the_untuned_model_of_an_agent_that_knows_itself_explains_nothing(found) -> None:
    assert found["untuned"].verdict == "no"


@pytest.mark.parametrize("kind", ["shuffled", "other-contexts", "format-only"])
def test_placebo_answers_are_never_a_context_s_own_weights(kind: str) -> None:
    contexts = catalogue()[:12]
    hidden = PreferenceSampler().sample(contexts, 0)
    ctx = SimpleNamespace(seed=0, stages=SimpleNamespace(scenarios=contexts))
    true = {name: dict(p.weights) for name, p in hidden.items()}
    said = _lies(ctx, kind, true)
    assert set(said) == set(true)
    for name, weights in said.items():
        assert set(weights) == set(true[name])
        assert weights != true[name]
    if kind == "shuffled":
        assert all(sorted(said[n].values()) == sorted(true[n].values()) for n in true)
    if kind == "other-contexts":
        assert sorted(sorted(w.values()) for w in said.values()) == sorted(sorted(w.values()) for w in true.values())


def test_what_needs_words_is_not_applicable_to_an_organism_and_says_why() -> None:
    organism, chat = (ModelRef(provider=name, model="x") for name in ("organism", "transformers"))
    for word in CONTROLS:
        made = control(word)
        assert bool(made.unfit(organism, made.Options())) == (word in ("few-shot", "common-sense", "disposition"))
        assert not made.unfit(chat, made.Options())


def test_examples_come_before_the_question_and_the_question_is_still_read() -> None:
    asked: list[int] = []

    def answer(request) -> str:
        asked.append(len(request.messages))
        assert [m.role for m in request.messages[-3:]] == ["user", "assistant", "user"]
        return "{}"

    style = ChatStyle()
    contexts = catalogue()[:3]
    (_, trial), *_ = TrialGenerator().trials(contexts[2:], 1, rng=0)
    shot = ShotStyle(style, (ChatMessage("user", "q"), ChatMessage("assistant", "a")))
    (prompt,) = shot.report(contexts[2], trial)
    assert shot.read(prompt.messages) == prompt.content
    assert shot.id != style.id
    SelfReportProbe(shot, k=1).run(FunctionBackend(answer, name="f", version="1"), contexts, rng=0)
    assert asked == [4] * 3


def arm(name: str, r: float, **more) -> dict:
    row = {"name": name, "pooled_r": r, "ci_low": r - 0.1, "ci_high": r + 0.1, "beyond_untuned_low": None}
    return row | more


def result(**more):
    rise = SimpleNamespace(estimate=0.3)
    found = {
        "arms": [arm("instilled", 0.4, beyond_untuned_low=0.2)],
        "rises": {"held-out": rise},
        "rise_interval": lambda _: Interval(0.2, 0.4),
        "seeds": [SimpleNamespace(drift={"held-out": 0.99})],
    }
    return SimpleNamespace(**(found | more))


def test_a_claim_names_the_strongest_explanation_that_is_left() -> None:
    first, second = claims_of(result())
    assert (first.holds, second.holds) == ("holds", "holds")
    assert first.control == "grounding"
    assert first.excluded[0].startswith("the weights can be guessed from names")
    assert second.control == "placebo"
    told = claims_of(result(), {"placebo": "does not raise r", "grounding": "reads", "privileged": "privileged"})
    assert [c.control for c in told] == ["five seeds or more", "choices measured again after report training"]


def test_an_explanation_that_a_control_found_outweighs_those_that_are_open() -> None:
    first, second = claims_of(result(), {"grounding": "recites"})
    assert (first.standing, first.control) == (second.standing, second.control) == ("found", "grounding")
    assert "But the control 'grounding' found" in str(first)


def test_a_null_result_is_a_claim_that_does_not_hold() -> None:
    for narrow in (Interval(-0.04, 0.06), Interval(-0.5, -0.2)):
        _, second = claims_of(result(rise_interval=lambda _, span=narrow: span))
        assert (second.holds, second.alternative, second.control) == ("does not hold", "", "")


def test_an_interval_that_is_too_wide_for_an_answer_is_no_null_result() -> None:
    _, second = claims_of(result(rise_interval=lambda _: Interval(-0.1, 0.4)))
    assert (second.holds, second.alternative) == ("cannot be told", "")
    _, second = claims_of(result(rise_interval=lambda _: Interval.undefined()))
    assert second.holds == "cannot be told"
    assert math.isfinite(second.effect)


@pytest.mark.slow
@pytest.mark.parametrize(("organism", "verdict"), [("shared", "reads"), ("split", "recites")])
def test_grounding_tells_an_organism_that_reads_from_one_that_recites(tmp_path: Path, organism, verdict) -> None:
    """By construction: in one, choosing and reporting read the same row; in the other they share nothing, and a
    report can only be what it was once taught. Whether choices were taught anew or weights were edited.
    """
    for method in ("retrain", "edit"):
        controls = [{"grounding": {"method": method, "untrain": False}}]
        protocol = Protocol(name="g").changed(controls=controls, contexts={"instilled": 100, "native": 0})
        run = ProtocolRun(protocol, backend_ref(f"organism:{organism}"), tmp_path).run()
        (grounding,) = run.controls
        assert grounding.verdict == verdict, method


@pytest.mark.slow
def test_placebo_training_does_not_raise_held_out_r_of_an_organism(tmp_path: Path) -> None:
    protocol = Protocol(name="p").changed(controls=["placebo"], contexts={"instilled": 100, "native": 0})
    run = ProtocolRun(protocol, backend_ref("organism"), tmp_path).run()
    (placebo,) = run.controls
    assert placebo.verdict == "does not raise r"
    real = next(row for row in placebo.rows if row["condition"] == "true weights")
    assert real["rise_low"] > 0
    scored = [row for row in placebo.rows[2:] if "note" not in row]
    assert len(scored) == 4
    for row in scored:
        assert row["rise"] < real["rise"]
