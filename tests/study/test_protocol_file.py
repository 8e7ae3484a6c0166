"""Protocols are data: they come back from YAML as they went in, and what cannot be run says so with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_protocols import SMALL, small_protocol

from introspect.backend import TrainingSpec
from introspect.decision import ScenarioSet, catalogue, organism_scenarios
from introspect.errors import ConfigError, ScenarioError
from introspect.study import (
    CHAT_PROTOCOL,
    ORGANISM_PROTOCOL,
    PRESETS,
    Protocol,
    ProtocolRun,
    backend_ref,
    departures,
    named_protocol,
)
from introspect.study.folder import differences, read_folder
from introspect.study.protocols import PUBLISHED, settings_of, study_of_protocol


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back_from_yaml_as_they_went_in(name: str) -> None:
    protocol = named_protocol(name)
    again = Protocol.from_yaml(protocol.to_yaml())
    assert again == protocol
    assert again.hash == protocol.hash


def test_training_settings_and_splits_come_back_too() -> None:
    spec = TrainingSpec(epochs=7, extra={"row_rate": 2.0}).model_dump(mode="json")
    fold = {"train": ["k0000", "k0001"], "test": ["k0002"]}
    changed = small_protocol("controls: [placebo, {dose: {axes: [epochs], shares: [0.5, 1.0]}}]").changed(
        instil__train=spec, report__train__folds=[fold], report__train__targets="learned"
    )
    again = Protocol.from_yaml(changed.to_yaml())
    assert again == changed
    assert again.report.train.folds[0].train == ("k0000", "k0001")
    assert [c.word for c in again.controls] == ["placebo", "dose"]


def test_the_hash_is_of_what_matters_and_not_of_how_it_is_written() -> None:
    one = Protocol.from_yaml("name: x\nseeds: [0]\nreport: {ask: {reports: 10}}")
    assert (
        Protocol.from_yaml("report:\n  ask:\n    reports: 10  # as ever\nabout: other words\nname: x").hash == one.hash
    )
    assert one.changed(report__ask__reports=9).hash != one.hash


LINES = {
    "unknown key": ("name: x\nreport:\n  ask:\n    reprots: 3", "line 4: report.ask: unknown key 'reprots'; did you"),
    "unknown section": ("name: x\nrepotr: {}", "line 2: protocol: unknown key 'repotr'; did you mean 'report'"),
    "one fold": ("name: x\nreport:\n  train:\n    folds: 1", "leaves no context held out; give 2 or more"),
    "too many folds": ("name: x\ncontexts:\n  instilled: 3\nreport:\n  train: {folds: 4}", "line 5: report.train"),
    "overlap": (
        "name: x\nreport:\n  train:\n    folds:\n      - {train: [k0, k1], test: [k1]}",
        "line 5: report.train.folds.0: train and test overlap in k1: what is trained on cannot be held out",
    ),
    "held out twice": (
        "name: x\nreport:\n  train:\n    folds:\n      - {train: [a], test: [b]}\n      - {train: [c], test: [b]}",
        "held out twice",
    ),
    "unknown control": ("name: x\ncontrols:\n  - placebo\n  - plasebo", "line 4: controls.1: there is no"),
    "unknown setting": ("name: x\ncontrols:\n  - dose: {axis: []}", "line 3: controls.0: control 'dose': axis"),
    "control twice": ("name: x\ncontrols: [dose, dose]", "line 2: controls: dose is named twice"),
    "key twice": ("name: x\nname: y", "line 2: 'name' is given twice; keep one"),
    "no YAML": ("name: x\nreport: [1", "line 2: not readable as YAML"),
    "wrong kind": ("name: x\nreport:\n  ask: {reports: many}", "line 3: report.ask.reports: input should be"),
    "bad name": ("name: ../x", "line 1: name"),
    "other format": ("name: x\nprotocol: 2", "line 2: protocol"),
    "seeds": ("name: x\nseeds: [0, 0]", "line 2: seeds: must be distinct"),
    "a file without its word": ("name: x\ncontexts: {file: a.yaml}", "draw.contexts: must be 'file'"),
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_what_cannot_be_is_refused_in_one_line_that_names_line_and_remedy(case: str) -> None:
    text, said = LINES[case]
    with pytest.raises(ConfigError) as caught:
        Protocol.from_yaml(text, "my.yaml")
    assert str(caught.value).startswith("my.yaml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_published_preset_departs_only_where_it_says() -> None:
    found = {d.setting for d in departures(named_protocol("plunkett2025"))}
    # Training settings are the backend's; ties, training options, words and contexts are ours.
    assert found == {
        "draw.ties",
        "draw.report_options",
        "draw.wording",
        "draw.contexts",
        "instil.train",
        "report.train.settings",
    }


def test_every_published_setting_is_a_field_of_a_protocol() -> None:
    fields = named_protocol("recommended").model_dump()
    for path in PUBLISHED:
        inner = fields
        for part in path.split("."):
            assert part in inner, path
            inner = inner[part]


def test_the_old_presets_are_what_protocols_compile_to() -> None:
    settings = settings_of(named_protocol("organism"), "organism")
    assert settings == ORGANISM_PROTOCOL
    assert settings_of(Protocol(name="x"), "transformers").instil == CHAT_PROTOCOL.instil


def test_contexts_of_files_may_not_be_instilled_and_native_at_once(tmp_path: Path) -> None:
    catalogue()[:6].save(tmp_path / "mine.yaml")
    catalogue()[4:9].save(tmp_path / "other.yaml")
    text = (
        "name: x\ndraw: {contexts: file}\ncontexts: {instilled: 6, native: 3, file: mine.yaml, native_file: other.yaml}"
    )
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"contexts.native_file: .* are instilled too"):
        study_of_protocol(Protocol.load(tmp_path / "p.yaml"), backend_ref("simulated"), tmp_path)


def test_contexts_of_a_file_are_found_beside_the_protocol(tmp_path: Path) -> None:
    catalogue()[:6].save(tmp_path / "mine.yaml")
    text = "name: x\ndraw: {contexts: file}\ncontexts: {instilled: 4, native: 2, file: mine.yaml}"
    (tmp_path / "p.yaml").write_text(text)
    study = study_of_protocol(Protocol.load(tmp_path / "p.yaml"), backend_ref("simulated"), tmp_path)
    assert [s.id for s in study.scenarios] == list(catalogue().ids[:4])
    assert [s.id for s in study.native] == list(catalogue().ids[4:6])


CONTEXTS = organism_scenarios(7)
FROM_FILES = "name: x\ndraw: {contexts: file}\ncontexts: {instilled: 4, native: 2, file: %s, native_file: %s}"


def _with_files(folder: Path, file: str = "mine.yaml", native: str = "rest.yaml") -> Protocol:
    folder.mkdir(parents=True, exist_ok=True)
    ScenarioSet(CONTEXTS[:4]).save(folder / file)
    ScenarioSet(CONTEXTS[4:]).save(folder / native)
    (folder / "p.yaml").write_text(FROM_FILES % (file, native))
    return Protocol.load(folder / "p.yaml")


def _ask_otherwise(file: Path) -> None:
    ScenarioSet(s.model_copy(update={"question": "Which one now?"}) for s in ScenarioSet.load(file)).save(file)


def test_a_protocol_has_one_hash_wherever_its_files_lie_and_whatever_they_are_called(tmp_path: Path) -> None:
    one, moved = _with_files(tmp_path / "one"), _with_files(tmp_path / "deep" / "er", "my.json", "others.yml")
    assert one.contexts.file != moved.contexts.file
    assert one.hash == moved.hash
    assert one.contents() == moved.contents()
    assert set(one.contents()) == {"contexts.file", "contexts.native_file"}


@pytest.mark.parametrize("file", ["mine.yaml", "rest.yaml"])
def test_an_edited_scenario_file_changes_the_hash(tmp_path: Path, file: str) -> None:
    protocol = _with_files(tmp_path)
    before, place = protocol.hash, hash(protocol)
    text = (tmp_path / file).read_text()
    _ask_otherwise(tmp_path / file)
    assert protocol.hash != before
    assert hash(protocol) == place  # or it would be lost from a set
    (tmp_path / file).write_text(text)
    assert protocol.hash == before


def test_a_protocol_whose_files_are_gone_still_shows_itself(tmp_path: Path) -> None:
    protocol = _with_files(tmp_path)
    (tmp_path / "mine.yaml").unlink()
    assert "a scenario file that cannot be read" in repr(protocol)
    with pytest.raises(ScenarioError, match=r"mine.yaml: cannot be read"):
        _ = protocol.hash


def test_a_moved_scenario_file_is_no_change_and_an_edited_one_is_told(tmp_path: Path) -> None:
    model = backend_ref("simulated")
    first = _with_files(tmp_path / "one")
    ProtocolRun(first, model, tmp_path / "out").run()
    moved = ProtocolRun(_with_files(tmp_path / "two"), model, tmp_path / "out").run()
    assert (moved.changes, moved.count("computed")) == ((), 0)
    ProtocolRun(first, model, tmp_path / "beside").run()
    assert differences(read_folder(tmp_path / "out"), read_folder(tmp_path / "beside")) == []
    _ask_otherwise(tmp_path / "two" / "mine.yaml")
    edited = ProtocolRun(Protocol.load(tmp_path / "two" / "p.yaml"), model, tmp_path / "out").run()
    assert edited.changes == ("contexts.file: the file says something else",)
    assert edited.count("computed") > 0


def test_a_protocol_knows_nothing_of_the_world(tmp_path: Path) -> None:
    assert Protocol.from_yaml(SMALL).beside(tmp_path) == Protocol.from_yaml(SMALL)
    with pytest.raises(ConfigError, match="cannot be read"):
        Protocol.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="known are plunkett2025"):
        named_protocol("plunket")
