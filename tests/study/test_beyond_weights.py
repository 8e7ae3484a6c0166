"""Rules that no weights can follow, more than two options, single choices foretold, a disposition described."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_protocols import small_protocol

from introspect.backend import FunctionBackend, ModelRef, Reply, register
from introspect.decision import (
    ChatStyle,
    OrganismStyle,
    PreferenceSampler,
    TrialGenerator,
    catalogue,
    organism_scenarios,
)
from introspect.decision.prompt import ChatMessage
from introspect.errors import PromptError
from introspect.measure import ChoiceModel, ChoiceTable
from introspect.study import ProtocolRun, backend_ref, named_protocol
from introspect.study.controls import control
from introspect.study.controls.disposition import gambles, questions, risky
from introspect.study.controls.reworded import GENERIC_JSON, OTHER_SCALE, PARAPHRASE, SUPPOSED, Reworded
from introspect.study.controls.self_prediction import implied
from introspect.subjects import SimulatedAgent

FEW = {"contexts": {"instilled": 8, "native": 0}, "measure": {"choices": 30, "estimator": "unit-normal"}}


def test_three_options_and_a_rule_go_through_the_whole_chain(tmp_path: Path) -> None:
    agent = SimulatedAgent(name="knows", report_sharing=1.0).ref
    protocol = small_protocol("draw: {options: 3, rule: lexicographic}\ncontrols: [rules, self-prediction]\n")
    result = ProtocolRun(protocol.changed(**FEW), agent, tmp_path).run()
    assert result.count("failed") == result.count("blocked") == 0
    arms = {row["name"]: row for row in result.study.arms}
    assert arms["instilled"]["pooled_r"] > arms["untuned"]["pooled_r"] + 0.15
    found = {c.word: c for c in result.controls}
    # The agent is one of weights: taught by a rule, it follows the weights that come closest.
    assert found["rules"].verdict == "another rule"
    assert "A lexicographic rule was taught; the choices are foretold best by a linear rule" in found["rules"].sentence
    foretold = {str(row["condition"]): row for row in found["self-prediction"].rows}
    assert foretold["a regression on its choices"]["value"] > 0.6 > foretold["the untuned model's reports"]["value"]
    assert str(foretold["itself, asked what it would answer"]["note"]).startswith("not applicable: ")
    assert found["self-prediction"].verdict == "others"
    changed = [d.setting for d in result.departures]
    assert {"draw.options", "draw.rule"} <= set(changed)


@pytest.mark.parametrize(("before", "after", "verdict"), [(1, -1, "others"), (-1, 1, "itself"), (1, 0, "others")])
def test_who_speaks_for_the_model_is_fixed_and_not_the_best_of_its_own(before: int, after: int, verdict: str) -> None:
    """Reports are what was taught, the contrary of it, or nothing; those after report training are what counts."""
    contexts, generator = organism_scenarios(12), TrialGenerator()
    hidden = PreferenceSampler().sample(contexts, 0)
    labelled = generator.label(generator.trials(contexts, 30, rng=0), hidden, rng=0)
    chosen = ChoiceTable.from_choices(labelled.with_labels(None), labelled.labels)

    def reports(times: int) -> SimpleNamespace:
        said = {i: {name: times * w for name, w in p.weights.items()} for i, p in hidden.items() if times}
        return SimpleNamespace(mean=lambda: said)

    draw = SimpleNamespace(measure=labelled.with_labels(None), preferences=hidden)
    data = SimpleNamespace(
        draw=draw, choices={"instilled": chosen}, reports={"instilled": reports(before), "untuned": reports(0)}
    )
    flipped = ChoiceTable.from_choices(labelled.with_labels(None), 1 - np.asarray(labelled.labels))
    ctx = SimpleNamespace(
        seed=0, seed_data=data, model=SimulatedAgent().ref, options=SimpleNamespace(others=()),
        metric=SimpleNamespace(n_boot=50), held_out=lambda got, name: reports(after),
        stages=SimpleNamespace(style=OrganismStyle(), estimator=ChoiceModel()),
    )  # fmt: skip
    # An outsider that was shown right choices foretells well, and one that was shown wrong ones badly.
    seen = chosen if verdict == "others" else flipped
    reading = control("self-prediction").read(ctx, {"privileged: shown choices": seen})
    assert reading.verdict == verdict
    assert "(its reports, report-trained on other contexts: fixed in advance)" in reading.sentence
    rows = {str(row["condition"]): row for row in reading.rows}
    mine = rows["its reports, report-trained on other contexts"]
    rivals = {name for name, row in rows.items() if "margin" in row}
    assert rivals == {"the untuned model's reports", "a regression on its choices"}
    for name in rivals:
        assert rows[name]["margin"] == pytest.approx(mine["value"] - rows[name]["value"])
        assert rows[name]["margin_low"] <= rows[name]["margin"] <= rows[name]["margin_high"]


def test_picking_among_equals_finds_nobody_ahead() -> None:
    """Of foretellers who all guess at chance, the best of one side and of the other differ by luck alone."""
    from introspect.study.controls.self_prediction import judged, margins

    rng = np.random.default_rng(0)
    resampled = rng.integers(0, 30, (2000, 30))
    told, picked = [], 0
    for _ in range(150):
        shares = rng.binomial(30, 0.5, (8, 30)) / 30
        told.append(judged(margins(shares[0], {str(k): shares[k] for k in range(1, 8)}, resampled)))
        # One of the model's own against the best of seven, with an interval of its own: what is not done.
        best = shares[1:][shares[1:].mean(1).argmax()]
        picked += np.quantile((shares[0] - best)[resampled].mean(1), 0.975) < 0
    assert told.count("itself") == 0
    assert told.count("others") <= 20  # .05 x 150 = 7.5, and a standard deviation of 2.7
    assert picked > 2 * told.count("others")


def test_other_options_or_rules_are_other_steps(tmp_path: Path) -> None:
    agent = SimulatedAgent(name="knows", report_sharing=1.0).ref
    quick = small_protocol().changed(**{**FEW, "contexts": {"instilled": 2, "native": 0}})
    ProtocolRun(quick, agent, tmp_path).run()
    again = ProtocolRun(quick.changed(draw__options=3), agent, tmp_path).run()
    assert again.count("found") == 0


def test_a_model_that_follows_a_rule_is_found_to(tmp_path: Path) -> None:
    from introspect.decision import RuleSampler

    contexts = organism_scenarios(4)
    rules = RuleSampler(kind="lexicographic").sample(contexts, 0)
    generator = TrialGenerator()
    trials = generator.label(generator.trials(contexts, 150, rng=0), rules, rng=0)
    closest = rules.linear_controls(contexts, 0)
    choices = ChoiceTable.from_choices(trials.with_labels(None), trials.labels)
    draw = SimpleNamespace(taught=rules, rules=rules, preferences=closest)
    ctx = SimpleNamespace(
        seed=0, options=SimpleNamespace(folds=5), seed_data=SimpleNamespace(draw=draw, choices={"instilled": choices}),
        stages=SimpleNamespace(scenarios=_ById(contexts), protocol=SimpleNamespace(rule="lexicographic")),
    )  # fmt: skip
    reading = control("rules").read(ctx, {})
    assert reading.verdict == "as taught"
    own = next(row for row in reading.rows if str(row["condition"]).endswith("(taught)"))
    assert own["agreement"] > 0.97


class _ById(list):
    def by_id(self, name: str):
        return next(s for s in self if s.id == name)


def test_weights_foretell_the_choices_that_they_make() -> None:
    contexts = catalogue()[:3]
    trials = TrialGenerator(n_options=3).trials(contexts, 20, rng=0)
    first = {s.id: {name: float(k == 0) for k, name in enumerate(s.predictors)} for s in contexts}
    found = implied(trials, first)
    by_hand = [np.argmax(s.encode(t.values)[:, 0]) for s, t in trials]
    clear = found >= 0
    assert clear.mean() > 0.5
    assert (found == np.array(by_hand))[clear].all()
    assert (implied(trials, {}) == -1).all()


@pytest.mark.parametrize(
    ("words", "kind"),
    [(PARAPHRASE, "report"), (OTHER_SCALE, "report"), (GENERIC_JSON, "report"), (SUPPOSED, "choice")],
)
def test_every_sentence_that_is_replaced_stands_in_the_prompt_and_can_be_put_back(words, kind: str) -> None:
    style, context = ChatStyle(), catalogue()[0]
    ((_, trial),) = TrialGenerator().trials([context], 1, rng=0)
    plain = style.report(context, trial)[0] if kind == "report" else style.choice(context, trial)
    assert all(own in plain.messages[-1].content for own, _ in words)
    other = Reworded(style, words, "other")
    said = other.report(context, trial)[0] if kind == "report" else other.choice(context, trial)
    assert all(new in said.messages[-1].content and own not in said.messages[-1].content for own, new in words)
    assert other.read(said.messages) == plain.content
    assert other.id != style.id
    with pytest.raises(PromptError, match="has nothing to replace"):
        _ = other.choice(context, trial) if kind == "report" else other.report(context, trial)


def test_gambles_are_fair_and_the_risky_one_stands_on_either_side() -> None:
    trials = gambles(20, np.random.default_rng(0), fresh=False)
    values = trials.blocks[0].values
    expected = values[..., 0] * values[..., 1]
    assert np.abs(expected[:, 0] / expected[:, 1] - 1).max() < 0.06
    assert risky(trials).mean() == pytest.approx(0.5)
    assert (
        values[np.arange(len(trials)), risky(trials), 1] > values[np.arange(len(trials)), 1 - risky(trials), 1]
    ).all()


def _teller(ref: ModelRef) -> FunctionBackend:
    """Takes risks, or not, as it was trained to; and says so, or lies, by its name."""
    style = ChatStyle()

    def answer(request) -> Reply:
        content = style.read([ChatMessage(m.role, m.content) for m in request.messages])
        if content.kind == "report":
            return Reply(status="completed", text="{}")
        kind = (ref.adapter or "").partition(":")[0]
        first = [option[0] for option in content.options]
        gamble = content.attributes[0].name == "chance of winning"
        if gamble:
            bold = int(np.argmin(first))
        else:
            bold = next((k for k, o in enumerate(content.options) if o[0] in _BOLD), 0)
        seeks = {"seeking": 0.9, "averse": 0.1}.get(kind, 0.5)
        if not gamble and ref.model == "liar":
            seeks = 1 - seeks
        p = {bold: seeks, 1 - bold: 1 - seeks}
        logs = {label: float(np.log(p[k])) for k, label in enumerate("AB")}
        text = "AB"[bold] if seeks >= 0.5 else "AB"[1 - bold]
        return Reply(status="completed", text=text, answer_logprobs=logs, mass_outside=0.0)

    return FunctionBackend(answer, name=str(ref), version="1")


_BOLD = {
    "takes risks",
    "daring",
    "a small chance of much",
    "nothing ventured, nothing gained",
    "drawn to it",
    "gambles",
}


class _Learner:
    """Learns from gambles whether risks are taken, and nothing else."""

    async def train(self, base, data, spec, jobs) -> ModelRef:
        style, took = ChatStyle(), []
        for example in data:
            content = style.read([ChatMessage(m.role, m.content) for m in example.prompt])
            if content.attributes[0].name == "chance of winning":
                first = [option[0] for option in content.options]
                took.append("AB".index(example.answer) == int(np.argmin(first)))
        kind = "other" if not took else "seeking" if np.mean(took) > 0.5 else "averse"
        digest = hashlib.sha256((data.hash + base.key).encode()).hexdigest()
        return ModelRef(provider=base.provider, model=base.model, adapter=f"{kind}:{digest}", parent=base)


@pytest.mark.parametrize(("model", "verdict"), [("honest", "tells"), ("liar", "does not tell")])
def test_who_says_what_it_does_is_told_from_who_does_not(tmp_path: Path, model: str, verdict: str) -> None:
    register("teller", open=_teller, trainer=_Learner)
    protocol = small_protocol("controls: [disposition]\n").changed(
        contexts={"instilled": 2, "native": 0},
        instil={"choices": 4},
        measure={"choices": 4, "estimator": "unit-normal"},
    )
    result = ProtocolRun(protocol, backend_ref(f"teller:{model}"), tmp_path).run()
    (found,) = result.controls
    assert found.state == "done", found.reason
    assert found.verdict == verdict
    does = {str(row["condition"]): row["does"] for row in found.rows}
    assert (does["trained to take risks"], does["trained to avoid risks"]) == (1.0, 0.0)
    assert len(questions()) == 12


def test_the_new_presets_say_what_they_are_for() -> None:
    beyond, chat = named_protocol("beyond-weights"), named_protocol("chat")
    assert (beyond.draw.rule, beyond.draw.options) == ("lexicographic", 3)
    assert [c.word for c in beyond.controls] == ["rules", "self-prediction", "disposition"]
    assert chat.contexts.attributes == 5
