"""A study whose instilling failed goes on, and every later figure carries the flag."""

from __future__ import annotations

import json

import pytest
from small_studies import SMALL, small_study

from introspect.show import plot_reports
from introspect.study import StudyProtocol
from introspect.subjects import SimulatedAgent

ENOUGH = SMALL.model_copy(update={"n_instil": 50, "n_measure": 30})


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failed")
    agent = SimulatedAgent(name="flagged", lapse=0.95)
    result = small_study(folder, model=agent.ref, protocol=ENOUGH).run()
    return result, folder


def test_every_row_and_every_line_of_a_failed_instillation_says_so(failed):
    result, folder = failed
    (seed,) = result.seeds
    assert seed.verdict.status == "failed"
    assert result.flag == "instilling failed"
    assert {row["flag"] for row in result.arms} == {"instilling failed"}
    assert len(result.arms) > 5
    lines = [line for line in result.sentences() if line.startswith(tuple(result.arm_names))]
    assert len(lines) == len(result.arms)
    assert all(line.endswith("! instilling failed") for line in lines)
    assert all("instilling failed" in line for line in result.sentences() if line.startswith("Report training moved"))
    assert all(line.endswith("! instilling failed") for line in result.summary().splitlines()[1:])
    assert set(result.to_frame()["flag"]) == {"instilling failed"}
    kept = json.loads(next(folder.rglob("result.json")).read_text())
    assert {rise["flag"] for rise in kept["rises"].values()} == {"instilling failed"}
    assert kept["seeds"][0]["verdict"]["status"] == "failed"


def test_what_to_try_is_said_likeliest_cause_first(failed):
    result, _ = failed
    said = [line for line in result.sentences() if "Try: " in line]
    assert said
    assert said[0].startswith("Seed 0: 1. ")
    assert len(said) == len(result.seeds[0].verdict.causes)


def test_the_figure_carries_the_flag(failed):
    pytest.importorskip("matplotlib")
    result, _ = failed
    panels = plot_reports(result).axes
    assert all(any(text.get_text() == "instilling failed" for text in axis.texts) for axis in panels)


def test_an_instillation_that_took_carries_no_flag(tmp_path):
    result = small_study(tmp_path, model=SimulatedAgent(name="sound", scale=20.0).ref, protocol=ENOUGH).run()
    assert result.seeds[0].verdict.status == "took"
    assert {row["flag"] for row in result.arms} == {""}
    assert "instilling" not in "\n".join(result.sentences())


def test_a_study_of_before_there_were_looks_is_gone_on_with(tmp_path):
    """Its manifest knows nothing of them."""
    from introspect.store import Store

    study = small_study(tmp_path, protocol=SMALL)
    study.run()
    with Store.open(next(tmp_path.rglob("study.db"))) as store:
        assert "looks" not in store.manifest["study"]["protocol"]
    assert study.run().seeds


def test_a_model_that_cannot_be_watched_is_refused_before_it_is_trained(tmp_path):
    from introspect.errors import TrainingError

    protocol = StudyProtocol(**{**SMALL.model_dump(), "looks": 3})
    with pytest.raises(TrainingError, match="cannot be watched"):
        small_study(tmp_path, protocol=protocol).run()
