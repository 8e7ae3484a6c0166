"""Several models under one protocol's name share a folder, and none loses its results to another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_protocols import SMALL, small_protocol

from introspect.cli import main
from introspect.errors import StoreError
from introspect.show import run_card, write_page
from introspect.store import Store
from introspect.study import ProtocolRun, RunResult, backend_ref
from introspect.study.folder import differences, read_folder

ONE, OTHER = backend_ref("simulated:one"), backend_ref("simulated:other")


def run(folder: Path, model=ONE, **changes) -> RunResult:
    return ProtocolRun(small_protocol().changed(**changes), model, folder).run()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, one protocol, one folder; only to be read."""
    folder = tmp_path_factory.mktemp("both")
    run(folder), run(folder, OTHER)
    return folder


def results(folder: Path) -> dict[str, str]:
    """Model of each result that lies in a folder, by the result's own folder."""
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}
    return {place: told["study"]["model"]["model"] for place, told in found.items()}


def test_no_model_s_result_replaces_another_s(tmp_path: Path) -> None:
    first = run(tmp_path)
    kept = (first.folder / "result.json").read_bytes()
    second = run(tmp_path, OTHER)
    assert first.folder == tmp_path / "small"
    assert second.folder.name.startswith("small-simulated-other-")
    assert (first.folder / "result.json").read_bytes() == kept
    assert results(tmp_path) == {first.folder.name: "one", second.folder.name: "other"}


def test_each_model_finds_its_own_folder_again_and_is_held_against_its_own_last_run(tmp_path: Path) -> None:
    places = [run(tmp_path).folder, run(tmp_path, OTHER).folder]
    again = run(tmp_path, report__ask__reports=3)
    assert again.folder == places[0]
    assert again.changes == ("report.ask.reports: 2 -> 3",)
    # The other model was the last to compute each step; what it was asked is no reason here.
    assert {o.why.partition(":")[0] for o in again.steps.values() if o.state == "computed"} == {
        "how reports are asked for"
    }
    other = run(tmp_path, OTHER)
    assert (other.folder, other.changes, other.count("computed")) == (places[1], (), 0)


def test_status_tells_of_every_model(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(both)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "small on simulated/one: 18 done"
    assert told[1].startswith("small on simulated/other: 18 done (in small-simulated-other-")
    assert main(["status", str(both), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["protocols"]
    assert [(row["protocol"], row["model"]) for row in rows.values()] == [
        ("small", "simulated/one"), ("small", "simulated/other"),
    ]  # fmt: skip


def test_a_difference_is_told_of_the_same_model_whichever_was_run_first(both: Path, tmp_path: Path) -> None:
    run(tmp_path, OTHER), run(tmp_path)
    assert set(results(tmp_path)) != set(results(both))
    assert differences(read_folder(both), read_folder(tmp_path)) == []
    run(tmp_path, OTHER, report__ask__reports=3)
    lines = differences(read_folder(both), read_folder(tmp_path))
    assert "small on simulated/other: report.ask.reports: 2 -> 3" in lines
    assert not any("simulated/one" in line for line in lines)
    assert any(line.startswith("step made from something else: seed 0: fold1: reports") for line in lines)


def test_a_folder_with_a_model_more_says_which(both: Path, tmp_path: Path) -> None:
    run(tmp_path, OTHER)
    lines = differences(read_folder(both), read_folder(tmp_path))
    assert f"small on simulated/one: only in {both}" in lines
    assert not any(line.startswith("small on simulated/other: model") for line in lines)


def test_the_page_and_the_run_card_name_every_model(both: Path, tmp_path: Path) -> None:
    page = write_page(both, tmp_path / "page.html").read_text()
    places = list(results(both))
    assert len(places) == 2
    assert all(f"<h2>Claims of protocol {place}</h2>" in page for place in places)
    card = run_card(both)
    assert "simulated/one" in card
    assert "simulated/other" in card


def test_a_folder_of_before_is_read_and_goes_on_where_it_was(tmp_path: Path) -> None:
    run(tmp_path)
    with Store.open(tmp_path / "study.db") as store:
        entries = store.manifest["protocols"]
        store.manifest["protocols"] = {k: {f: v[f] for f in v if f != "contents"} for k, v in entries.items()}
    assert read_folder(tmp_path).sentences() == ["small on simulated/one: 18 done"]
    again = run(tmp_path)
    assert (again.folder.name, again.changes, again.count("computed")) == ("small", (), 0)


def test_the_command_writes_each_model_s_results_and_figures_apart(tmp_path: Path, capsys) -> None:
    (tmp_path / "small.yaml").write_text(SMALL + "controls: [untuned]\n")
    for name in ("one", "other"):
        given = ["--backend", f"simulated:{name}", "--out", str(tmp_path / "out")]
        assert main(["run", str(tmp_path / "small.yaml"), *given]) == 0
    assert "Everything is in" in capsys.readouterr().out
    drawn = sorted((p.parent.name.partition("-")[0], p.name) for p in (tmp_path / "out").glob("*/*.png"))
    assert drawn == [("small", "reports.png"), ("small", "reports.png"), ("small", "untuned.png"),
                     ("small", "untuned.png")]  # fmt: skip


def test_weights_that_a_control_names_may_not_change_under_it(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"one")
    protocol = small_protocol(f"controls:\n  - common-sense: {{models: ['transformers:{weights}']}}\n")
    ProtocolRun(protocol, ONE, tmp_path / "out").run()
    (weights / "model.safetensors").write_bytes(b"other")
    with pytest.raises(StoreError, match="no longer those"):
        ProtocolRun(protocol, ONE, tmp_path / "out").run()
