"""The commands for protocols: run, status, diff."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from introspect.cli import main
from introspect.study import Protocol, named_protocol

SMALL = """\
name: tiny
contexts: {instilled: 12, native: 0}
instil: {choices: 24}
measure: {choices: 12}
report:
  ask: {reports: 2}
score: {n_boot: 50, n_null: 49}
controls: [untuned, temperature]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SMALL)
    return path


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main([*words])
    out, err = capsys.readouterr()
    return code, out, err


def test_run_writes_results_and_figures_and_says_what_an_edit_redid(file: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "out")
    code, said, _ = run(capsys, "run", str(file), "--backend", "simulated", "--out", out)
    assert code == 0
    assert "temperature: Do reports hold when they are sampled?" in said
    assert {p.name for p in (tmp_path / "out" / "tiny").iterdir()} == {
        "protocol.yaml", "result.json", "reports.png", "untuned.png", "temperature.png",
    }  # fmt: skip
    file.write_text(SMALL.replace("reports: 2", "reports: 3"))
    code, said, _ = run(capsys, "run", str(file), "--backend", "simulated", "--out", out, "--json")
    found = json.loads(said)
    assert found["changes"] == ["report.ask.reports: 2 -> 3"]
    assert {s["name"].rpartition(" ")[2] for s in found["steps"] if s["state"] == "computed"} == {"reports"}
    assert len(found["claims"]) == 2
    code, said, _ = run(capsys, "status", out)
    assert said.startswith("tiny on simulated/agent: ")
    assert " done" in said
    code, said, _ = run(capsys, "diff", out, out)
    assert said == "No difference in protocols, models, steps or results.\n"


def test_a_protocol_is_shown_as_the_file_that_it_is(capsys) -> None:
    code, said, _ = run(capsys, "run", "plunkett2025", "--show")
    assert code == 0
    assert Protocol.from_yaml(said) == named_protocol("plunkett2025")


def test_a_dry_run_says_what_it_costs_and_where_it_departs(file: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "none"
    code, said, _ = run(
        capsys, "run", str(file), "--backend", "simulated", "--out", str(out), "--dry-run", "--seeds", "5"
    )
    assert code == 0
    assert "5 seed(s) in all" in said
    assert "Departs from the published study: contexts.instilled: 12 (published: 100)" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "plunket", "--backend", "simulated"), "there is no protocol 'plunket': known are plunkett2025"),
        (("run", "plunkett2025"), "--backend is missing"),
        (("run", "plunkett2025", "--backend", "organism:nobody"), "unknown organism 'nobody'"),
        (("run", "none.yaml", "--backend", "simulated"), "cannot be read"),
        (("run", "plunkett2025", "--backend", "simulated", "--seeds", "0"), "--seeds must be a whole number"),
        (("status", "nowhere"), "there is no study file"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(
    words: tuple[str, ...], said: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.startswith("introspect: ")
    assert err.count("\n") == 1
    assert said in err
