"""The planner on the command line."""

from __future__ import annotations

import json

import pytest

from introspect.cli import main
from introspect.study import Assumptions, plan


def test_the_command_prints_what_the_function_returns(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["plan", "--contexts", "12,24", "--trials", "6", "--reports", "2", "--scale", "none", "--json"])
    assert code == 0
    assert json.loads(capsys.readouterr().out) == plan([12, 24], 6, 2, Assumptions(scale=None)).to_dict()


def test_a_wish_finds_the_cheapest_sizes_with_their_price_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--width", "0.3", "--trials", "12,24", "--reports", "3"]) == 0
    first, header, best, *_ = capsys.readouterr().out.splitlines()
    assert first == "Fewest queries for a 95 % interval of width 0.3:"
    assert header.split()[:4] == ["contexts", "trials", "reports", "queries"]
    contexts, trials, reports, queries = (int(cell.replace(",", "")) for cell in best.split()[:4])
    assert queries == contexts * (trials + reports)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--r", "2"], "r: input should be less than 1"),
        (["--contexts", "3"], "contexts must be whole numbers from 10"),
        (["--width", "0.2", "--contexts", "30"], "give the one or the others"),
        (["--ceiling", "0.5"], "--ceiling belongs to"),
        (["--seed", "-1"], "--seed must be"),
        (["--width", "0.2", "--scale", "none", "--graded"], "graded answers need a scale"),
        (["--width", "0.0001", "--trials", "30", "--reports", "5"], "the nearest is 1000 contexts"),
    ],
)
def test_what_cannot_be_planned_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_word_that_is_no_number_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "--contexts", "many"])
    assert "expected whole numbers" in capsys.readouterr().err
