"""Every public object says in one line what it is; a result shows itself in a notebook, and rows become a frame."""

from __future__ import annotations

import inspect
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from introspect import (
    AccuracyMetric,
    AdaptiveProbe,
    Arm,
    Budget,
    ChatStyle,
    ChoiceModel,
    ChoiceProbe,
    FunctionBackend,
    Message,
    OrganismStyle,
    PreferenceSampler,
    Price,
    Protocol,
    ProtocolRun,
    RuleSampler,
    RuleSet,
    SelfReportProbe,
    SimulatedAgent,
    Store,
    Study,
    StudyProtocol,
    TrainingExample,
    TrainingSet,
    TrialGenerator,
    analyse,
    compare_rules,
    diagnose,
    export_study,
    open_model,
    organism_scenarios,
    plan,
    replay_study,
)
from introspect.study import Draft, Drafts

ROOMS = ("introspect", "introspect.study", "introspect.internals", "introspect.training", "introspect.testing")
CONTEXTS = organism_scenarios(24)

# What is no result: it has settings or does something, and is never what a cell ends in. Protocols have no objects.
NO_RESULTS = {
    "AblationStudy", "AccuracyMetric", "AdaptiveProbe", "Assumptions", "Attribute", "BackendConformance", "Budget",
    "Capabilities", "Cause", "ChatStyle", "Check", "ChoiceModel", "ChoiceProbe", "CleanRun", "Draft", "Example",
    "Expected", "ExplainerSpec", "FineTuner", "FunctionBackend", "Gate", "InternalsConfig", "InternalsStudy", "Message",
    "ModelBackend", "ModelInfo", "ModelRef", "OrganismStyle", "Preference", "PreferenceSampler", "Price",
    "ProgressWatcher", "PromptStyle", "Protocol", "ProtocolRun", "RateTrial", "Recipe", "Reply", "Request",
    "RuleSampler", "ScenarioWriter", "SelfReportProbe", "SilentWatcher", "SimulatedAgent", "SoftMap", "SoftToken",
    "StagePlan", "Store", "StoredJobs", "StoredReplies", "Study", "StudyProtocol", "Target", "Trainer",
    "TrainingExample", "TrainingSpec", "TrainingWatch", "TrajectoryWatch", "Trial", "TrialGenerator", "Write",
}  # fmt: skip
# Results that hold no rows.
NO_ROWS = {"Claim", "Canary", "Dictionary", "FineTuned", "Verdict"}
# Held by their arrays alone; a notebook shows the line.
NO_PICTURE = {"Dictionary", "TrainingSet"}


def public() -> dict[str, type]:
    found = {}
    for room in map(import_module, ROOMS):
        for name in room.__all__:
            thing = getattr(room, name)
            if inspect.isclass(thing) and not issubclass(thing, BaseException):
                found[name] = thing
    return found


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of every result, and some of what has much inside."""
    from introspect.internals import Dictionary, InternalsResult, RowTable
    from introspect.internals.row_table import Recheck, Row

    out, style = tmp_path_factory.mktemp("reprs"), OrganismStyle()
    hidden = PreferenceSampler().sample(CONTEXTS, rng=0)
    agent = SimulatedAgent(name="shown", report_fidelity=0.5).with_preferences(CONTEXTS, hidden)
    model, ten = open_model(agent.ref), CONTEXTS[:10]
    trials = TrialGenerator().trials(CONTEXTS, 20, rng=1)
    choices, reports = ChoiceProbe(style).run(model, trials), SelfReportProbe(style, k=2).run(model, CONTEXTS, rng=2)
    weights, metric = ChoiceModel().fit(choices), AccuracyMetric(n_boot=50, n_null=49)
    few = ChoiceProbe(style).run(model, TrialGenerator().trials(CONTEXTS[:2], 20, rng=4))
    analysis = analyse(choices, reports, metric=metric)
    small = StudyProtocol(n_instil=12, n_measure=12, n_reports=1, n_validation=4)
    study = Study(SimulatedAgent(name="s").ref, ten, style=style, protocol=small, out=out / "study", metric=metric)
    result = study.run()
    export_study(out / "study", out / "study.zip")
    protocol = Protocol(name="small", draw={"contexts": "own"}).changed(
        contexts__instilled=10, contexts__native=0, instil__choices=6, measure__choices=6, report__ask__reports=1,
        score__n_boot=50, score__n_null=49,
    )  # fmt: skip
    run = ProtocolRun(protocol, SimulatedAgent(name="p").ref, out / "run")
    rules = RuleSet(RuleSampler(kind="screening").sample(ten, rng=0).values())
    with Store.open(out / "study" / "study.db") as store:
        tuned = next(step.result for step in store.steps() if "train instilled" in step.name)
    fine = import_module("introspect").FineTuned.model_validate({**tuned, "losses": [0.1] * 200})
    rows = tuple(Row(f"r{k}", f"g{k}", "train", {}, "red") for k in range(50))
    example = TrainingExample(
        messages=(Message(role="user", content="A or B?"), Message(role="assistant", content="A"))
    )
    return {
        "Accuracy": metric.score(reports, weights, rng=3), "Analysis": analysis,
        "Arm": result.seeds[0].arms["instilled"], "ChoiceTable": choices, "Claim": result.claims()[0],
        "DecisionScenario": CONTEXTS[0], "Diagnosis": diagnose(choices), "FineTuned": fine, "Canary": fine.canary,
        "Verdict": result.seeds[0].verdict, "LearnedWeights": weights, "PreferenceSet": hidden, "ReportTable": reports,
        "MeasurementPlan": plan(contexts=(10,), trials=(10,), reports=(1,), n_sims=20, n_pool=20), "RuleSet": rules,
        "ScenarioSet": CONTEXTS, "StudyResult": result, "TrialSet": trials, "TrainingSet": TrainingSet([example] * 500),
        "Drafts": Drafts("tea", 2, (Draft("refused", ("it declined",), "I can't. " * 500),)),
        "Replay": replay_study(out / "study.zip"), "RunResult": run.run(), "SeedResult": result.seeds[0],
        "StudyPlan": study.plan(), "RowTable": RowTable("planted", rows, np.zeros((50, 8), np.float32), {}),
        "Dictionary": Dictionary(*(np.zeros((400, 64), np.float32) for _ in range(4)), 1.0, 4),
        "InternalsResult": InternalsResult("planted", "tiny", "exact", {}, {}, (), {}, {}, {}, Recheck(0, ())),
        # Beyond the list: what else is printed by mistake, or stands in another room.
        "ArmAnalysis": next(iter(analysis.arms.values())), "RuleComparison": compare_rules(few),
        "AdaptiveRun": AdaptiveProbe(ChoiceProbe(style)).run(model, CONTEXTS[:2], 10, rng=0), "ModelRef": agent.ref,
        "SimulatedAgent": agent, "Study": study, "ProtocolRun": run, "Protocol": protocol,
        "StudyOfMany": replace(study, scenarios=tuple(CONTEXTS)), "ChatStyle": ChatStyle(),
        "FunctionBackend": FunctionBackend(lambda request: "A", name="a", version="1"),
        "Budget": Budget(cap=1.0, prices={"*": Price(1.0, 1.0)}),
    }  # fmt: skip


def test_every_public_class_is_either_a_result_that_is_tried_here_or_none(things: dict[str, Any]) -> None:
    results = set(public()) - NO_RESULTS
    assert results <= set(things), "give one of each new result, or say that it is none"
    assert set(public()) >= NO_RESULTS, "names that are gone"
    for name in results:
        assert isinstance(things[name], public()[name])


def test_a_repr_is_one_short_line_that_names_the_class(things: dict[str, Any]) -> None:
    for name, thing in things.items():
        said = repr(thing)
        assert len(said) <= 600, (name, said[:900])
        assert "\n" not in said, name
        assert " object at 0x" not in said, name
        assert "array(" not in said, name
        assert said.startswith(type(thing).__name__), said


def test_a_result_shows_itself_in_a_notebook(things: dict[str, Any]) -> None:
    for name in set(public()) - NO_RESULTS - NO_PICTURE:
        shown = things[name]._repr_html_()
        assert shown.startswith("<div"), name
        assert len(shown) < 60_000, name


def test_what_holds_rows_becomes_a_frame(things: dict[str, Any]) -> None:
    pytest.importorskip("pandas")
    for name in set(public()) - NO_RESULTS - NO_ROWS - {"InternalsResult"}:
        assert len(things[name].to_frame()), name
        assert len(things[name].to_frame().columns) > 1, name
    for name in ("ArmAnalysis", "RuleComparison", "AdaptiveRun"):
        assert "to_frame" not in dir(things[name]) or len(things[name].to_frame()), name
    assert isinstance(things["Arm"], Arm)
    assert set(things["Arm"].to_frame()["scenario_id"]) == set(things["Arm"].said)


def test_records_that_are_no_results_have_reprs_too() -> None:
    for name, kind in public().items():
        if name in NO_RESULTS and not issubclass(kind, BaseModel) and not getattr(kind, "_is_protocol", False):
            assert kind.__repr__ is not object.__repr__ or name in DOERS, name


DOERS = {
    "AblationStudy", "BackendConformance", "CleanRun", "InternalsStudy", "ProgressWatcher", "SilentWatcher",
    "StoredJobs", "StoredReplies",
}  # fmt: skip
"""What is made, used and never looked at."""


def test_no_repr_of_a_study_shows_where_its_owner_lives(things: dict[str, Any]) -> None:
    assert str(Path.home()) not in repr(things["StudyResult"])
