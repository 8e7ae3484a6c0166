"""``introspect internals``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_internals import KINDS, WORDS

from introspect.cli import main
from introspect.internals.config import InternalsConfig
from introspect.internals.tiny import tiny_target

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "internals"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tiny")
    target = tiny_target("llama", words=(*WORDS, "A", "B"), kinds=KINDS)
    target.model.save_pretrained(made)
    target.tokenizer.save_pretrained(made)
    return made


def test_settings_are_shown_as_yaml_that_reads_back(capsys, tmp_path):
    assert main(["internals", "eval", "patching", "--show"]) == 0
    (tmp_path / "all.yaml").write_text(capsys.readouterr().out)
    assert InternalsConfig.load(tmp_path / "all.yaml") == InternalsConfig(task="patching")


def test_the_settings_of_published_results_read_back():
    found = [InternalsConfig.load(path) for path in sorted(RESULTS.glob("*.yaml"))]
    assert [config.task for config in found] == ["ablation", "features", "patching", "planted"]


def test_every_step_runs_from_the_command_line(folder, capsys, tmp_path):
    settings = tmp_path / "small.yaml"
    settings.write_text(
        "planted: {seen: 4, directions: 3, test: 3}\ntrain: {epochs: 1}\nretrieval: 3\nmost_test: 16\n"
        "baselines: [majority]\n"
    )
    common = ["planted", "--config", str(settings), "--model", str(folder), "--out", str(tmp_path / "out"), "--json"]
    for step in ("build", "train", "explain", "recheck", "eval"):
        assert main(["internals", step, *common]) == 0, step
        told = json.loads(capsys.readouterr().out)
    assert {row["arm"] for row in told["rows"]} == {"explainer", "no vector", "shuffled vector", "majority"}
    assert str(folder) in told["model"]
    assert (tmp_path / "out" / "arms.png").is_file()


@pytest.mark.parametrize(("words", "said"), [
    (["--config", "nowhere.yaml"], "cannot be read"),
    (["--model", "no-such-model"], "unknown model"),
    (["--rows", "0"], "at least 1"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["internals", "build", "planted", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_wrong_setting_is_named(capsys, tmp_path):
    (tmp_path / "bad.yaml").write_text("train: {epochs: 0}\n")
    assert main(["internals", "build", "planted", "--config", str(tmp_path / "bad.yaml")]) == 2
    assert "train.epochs" in capsys.readouterr().err
