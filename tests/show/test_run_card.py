"""What a page of results states about its run comes from the study itself, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from introspect import SimulatedAgent, __version__, named_protocol
from introspect.cli import main
from introspect.errors import StoreError
from introspect.show import run_card
from introspect.store import Store
from introspect.study import ProtocolRun


def read(card: str) -> dict[str, str]:
    note, fence, *lines, end = card.splitlines()
    assert (note, fence, end) == ("<!-- manifest -->", "```text", "```")
    return dict(line.split(maxsplit=1) for line in lines)


def test_the_card_of_a_study_names_model_settings_seeds_versions_machine_and_day(finished):
    card = read(run_card(finished.folder, "python  mine.py\n--seeds 2"))
    with Store.open(finished.folder / "study.db", create=False) as store:
        (run,) = store.manifest["surroundings"]
    assert card["command"] == "python mine.py --seeds 2"
    assert card["model"] == "simulated/shown, 1"
    assert card["protocol"].startswith("self-interpretability, sha256:")
    assert card["seeds"] == "0, 1"
    assert card["introspect"] == __version__
    assert f"numpy {run['packages']['numpy']}" in card["packages"]
    assert card["machine"].endswith(run["machine"])
    assert card["date"].startswith("20")


def test_the_card_of_a_protocol_has_the_protocols_own_hash(tmp_path: Path):
    protocol = named_protocol("plunkett2025").changed(
        contexts__instilled=10, contexts__native=0, instil__choices=4, measure__choices=4, report__ask__reports=1,
        score__n_boot=50, score__n_null=49,
    )  # fmt: skip
    ProtocolRun(protocol, SimulatedAgent(name="carded").ref, tmp_path).run()
    card = read(run_card(tmp_path))
    name, shown = card["protocol"].split(", ")
    assert name == "plunkett2025"
    assert protocol.hash.startswith(shown)
    assert "command" not in card


def test_the_command_prints_the_card_and_writes_no_page(finished, capsys):
    main(["report", str(finished.folder), "--manifest", "introspect quickstart"])
    said = capsys.readouterr().out
    assert said == run_card(finished.folder, "introspect quickstart")
    main(["report", str(finished.folder), "--manifest"])
    assert "command" not in capsys.readouterr().out


def test_a_folder_without_a_run_has_no_card(tmp_path: Path):
    with pytest.raises(StoreError, match=r"holds no study: there is no study\.db"):
        run_card(tmp_path)
    with Store.open(tmp_path / "study.db"):
        pass
    with pytest.raises(StoreError, match="never run"):
        run_card(tmp_path)
    with Store.open(tmp_path / "study.db") as store:
        store.manifest["study"] = {"model": None}
    with pytest.raises(StoreError, match="another version"):
        run_card(tmp_path)
