"""What the commands print when all is well."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import introspect as package
from introspect.cli import main, quickstart
from introspect.decision import OrganismStyle, ScenarioSet, catalogue, organism_scenarios
from introspect.measure import AccuracyMetric
from introspect.study import Study, StudyProtocol
from introspect.subjects import SimulatedAgent

ARMS = ["untuned", "instilled", "report-trained", "native-before", "native-after"]
FIELDS = {
    "name", "reports_from", "weights_from", "n_scenarios", "coverage", "choice_accuracy", "learned_vs_target_r",
    "pooled_r", "ci_low", "ci_high", "null_p_context",
}  # fmt: skip


def test_version_is_the_package_s(introspect) -> None:
    assert introspect("version") == (0, package.__version__ + "\n", [])


def test_the_installed_command_and_the_module_are_the_same(process) -> None:
    running = process("version", stdout=subprocess.PIPE)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out.strip(), err) == (0, package.__version__, "")


def test_version_is_also_where_other_programs_have_it(capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, package.__version__ + "\n")


@pytest.mark.parametrize("words", [(), ("quickstart",), ("analyse",), ("scenarios", "validate"), ("models", "get")])
def test_help_names_every_command_and_option(introspect, words) -> None:
    code, out, err = introspect(*words, "--help")
    assert (code, err) == (0, [])
    expected = {
        (): ["quickstart", "analyse", "scenarios", "models", "doctor", "plan", "serve", "export", "replay", "version"],
        ("quickstart",): ["--organism", "--model", "--seeds", "--out", "--json", "--dry-run"],
        ("analyse",): ["--targets", "--compat", "--estimator", "--seed", "--drop-unknown", "--json"],
    }.get(words, ["usage: introspect"])
    assert all(word in out for word in expected)


@pytest.mark.parametrize("name", ["boats.yaml", "boats.json"])
def test_valid_scenarios_are_counted(introspect, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ScenarioSet(catalogue()[:3]).save(path)
    code, out, err = introspect("scenarios", "validate", path)
    assert (code, err) == (0, [])
    assert "3 scenarios" in out
    code, out, err = introspect("scenarios", "validate", path, "--json")
    assert (code, err) == (0, [])
    found = json.loads(out)
    assert [row["id"] for row in found["scenarios"]] == [s.id for s in catalogue()[:3]]
    assert found["valid"] is True


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Quickstart on a small study of a simulated agent: everything but the size is what users get."""

    def study(options) -> Study:
        return Study(
            SimulatedAgent(name="small").ref, organism_scenarios(12), organism_scenarios(11, prefix="n"),
            OrganismStyle(), StudyProtocol(n_instil=30, n_measure=20, n_native=20, n_reports=2), options.out,
            tuple(range(options.seeds)), AccuracyMetric(n_boot=100, n_null=99), "Known by construction.",
        )  # fmt: skip

    monkeypatch.setattr(quickstart, "_study", study)
    return tmp_path / "study"


def strict(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_is_exactly_one_object_with_the_promised_arms_and_fields(introspect, small: Path) -> None:
    code, out, _ = introspect("quickstart", "--out", small, "--json")
    assert code == 0
    assert out.count("\n") == 1
    found = strict(out)
    assert [arm["name"] for arm in found["arms"]][:5] == ARMS
    assert len({arm["name"] for arm in found["arms"]}) == len(found["arms"])
    assert all(set(arm) >= FIELDS for arm in found["arms"])
    assert found["out"] == str(small)
    assert Path(found["figure"]).read_bytes().startswith(b"\x89PNG\r\n")
    on_disk = strict((small / "result.json").read_text(encoding="utf-8"))
    assert {key: found[key] for key in on_disk} == on_disk


def test_the_same_command_again_repeats_no_stage_and_finds_the_same(introspect, small: Path) -> None:
    code, out, err = introspect("quickstart", "--out", small)
    assert code == 0
    assert all(any(line.startswith(arm) for line in out.splitlines()) for arm in ARMS)
    for said in (
        "held-out contexts",
        "native contexts",
        "Known by construction.",
        str(small / "reports.png"),
        f"introspect report {small}",
    ):
        assert said in out
    assert any("calls" in line and "gradient steps" in line for line in err)
    code, again, err = introspect("quickstart", "--out", small)
    assert (code, again) == (0, out)
    stages = [line for line in err if line.startswith("seed 0: ")]
    assert len(stages) == 18
    assert all(line.endswith("done before") for line in stages)


def test_a_dry_run_prints_the_plan_and_touches_nothing(introspect, small: Path) -> None:
    code, out, err = introspect("quickstart", "--out", small, "--seeds", "2", "--dry-run")
    assert (code, err) == (0, [])
    assert out.splitlines()[-1].startswith("2 seed(s) in all: 3,348 calls")
    assert not small.exists()


def test_another_study_s_folder_is_refused_in_one_line(introspect, small: Path, monkeypatch) -> None:
    introspect("quickstart", "--out", small, "--json")
    before = {path: path.read_bytes() for path in small.rglob("*.json")}
    make = quickstart._study
    monkeypatch.setattr(quickstart, "_study", lambda options: Study(SimulatedAgent(seed=9).ref, **rest(make(options))))
    code, out, err = introspect("quickstart", "--out", small, "--json")
    assert (code, out, len(err)) == (2, "", 1)
    assert str(small) in err[0]
    assert "another study" in err[0]
    assert {path: path.read_bytes() for path in small.rglob("*.json")} == before


def rest(study: Study) -> dict:
    return {name: getattr(study, name) for name in ("scenarios", "native", "style", "protocol", "out", "metric")}


def test_ctrl_c_says_how_to_go_on(introspect, small: Path, monkeypatch) -> None:
    def interrupted(self, watcher=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(Study, "run", interrupted)
    code, out, err = introspect("quickstart", "--out", small)
    assert (code, out, len(err)) == (130, "", 1)
    assert "same command" in err[0]
