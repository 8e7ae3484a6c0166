"""YAML of users and strangers: plain data, told with its line, and never more than fits into memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import introspect
from introspect._yaml import load_yaml, load_yaml_lines
from introspect.backend.budgeted import load_prices
from introspect.decision import ScenarioSet
from introspect.errors import ConfigError, IntrospectError, ScenarioError
from introspect.internals.config import InternalsConfig
from introspect.internals.latent_labels import labels_from_file
from introspect.internals.word_lists import word_lists
from introspect.study import Protocol
from introspect.study.sweeps import Sweep

# Twenty lines that stand for 10 to the 20 values.
LAUGHS = "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 20)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 10)}]}}\n" for k in range(1, 20))
KEYED = LAUGHS + "b:\n  ? *a19\n  : 1\n"

READERS: dict[str, Callable[[Path], Any]] = {
    "protocol": Protocol.load,
    "sweep": Sweep.load,
    "scenarios": ScenarioSet.load,
    "internals": InternalsConfig.load,
    "word lists": word_lists,
    "labels": labels_from_file,
    "prices": load_prices,
}


@pytest.mark.parametrize("bomb", [LAUGHS, MERGED, KEYED], ids=["laughs", "merged", "keyed"])
@pytest.mark.parametrize("reader", READERS)
def test_aliases_without_end_are_refused_in_one_line(tmp_path: Path, reader: str, bomb: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(bomb)
    with pytest.raises(IntrospectError, match=r"mine.yaml, line \d+: aliases \(\*name\) repeat more than") as caught:
        READERS[reader](file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(file))


def test_a_bomb_within_a_setting_that_is_known_is_refused_too() -> None:
    text = "name: x\nabout: &a [" + "1, " * 400 + "1]\nseeds: &b [" + "*a, " * 400 + "*a]\n"
    with pytest.raises(ConfigError, match=r"p.yaml, line 3: aliases"):
        Protocol.from_yaml(text, "p.yaml")


def test_an_alias_that_holds_itself_is_refused() -> None:
    for text in ("a: &a [1, *a]", "&a {b: {c: *a}}"):
        with pytest.raises(ConfigError, match="line 1: an alias stands within what it is an alias of"):
            load_yaml(text, "x.yaml")


def test_aliases_that_save_typing_are_read() -> None:
    data, at = load_yaml_lines("one: &one {a: 1, b: [1, 2]}\ntwo: *one\nthree: {<<: *one, a: 3}\n", "x.yaml")
    assert data["two"] == {"a": 1, "b": [1, 2]}
    assert data["three"] == {"a": 3, "b": [1, 2]}
    assert at["two", "b", 1] == 1
    assert at["three", "a"] == 3
    many = load_yaml("a: &a [" + "1, " * 99 + "1]\nb: [" + "*a, " * 900 + "*a]\n", "x.yaml")
    assert sum(map(len, many["b"])) == 90_100


def test_a_long_file_without_aliases_is_read_whatever_its_length() -> None:
    assert len(load_yaml("[" + "1, " * 120_000 + "1]", "x.yaml")) == 120_001


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "x.yaml, line 3: 'a' is given twice; keep one"),
        ("a:\n- [1\n", "x.yaml, line 3: not readable as YAML: expected"),
        ("a: !!python/object/apply:os.getcwd []", "x.yaml, line 1: not readable as YAML: could not determine"),
        ("? [1]\n: 2", "x.yaml, line 1: not readable as YAML: found unhashable key"),
        ("[" * 5000, "x.yaml.*: not readable as YAML"),
        ("a: \x00", "x.yaml: not readable as YAML"),
        ("a: " + "9" * 5000, "x.yaml: not readable as YAML: Exceeds the limit"),
        ("a: 2020-13-45", "x.yaml: not readable as YAML: month must be in"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said) as caught:
        load_yaml(text, "x.yaml", ScenarioError)
    assert "\n" not in str(caught.value)


def test_nothing_else_in_the_library_reads_yaml() -> None:
    root = Path(introspect.__file__).parent
    own = re.compile(r"yaml\.(safe_load|load|full_load|unsafe_load|compose|parse|scan)\b|\w*Loader\(")
    found = [p.relative_to(root).as_posix() for p in root.rglob("*.py") if own.search(p.read_text(encoding="utf-8"))]
    assert [name for name in found if name != "_yaml.py" and "yaml" in (root / name).read_text()] == []
