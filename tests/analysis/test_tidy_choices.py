"""What a tidy file of choices says comes out as it was said."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from tidy_rows import choice_rows

from introspect.analysis import read_choices
from introspect.measure import ChoiceModel, ChoiceTable, ReportTable, pair


def differences(table: ChoiceTable) -> np.ndarray:
    return np.concatenate([table.trials.differences(block) for block in table.trials.blocks])


def test_every_trial_has_its_values_and_its_choice(files) -> None:
    rows, _ = choice_rows()
    table = read_choices(files("c.csv", rows))["all"]
    assert len(table) == len(rows) // 3
    assert [s.id for s in table.trials.scenarios] == ["k0", "k1"]
    assert table.trials.scenarios[0].predictors == ("rent", "size", "noise")
    seen = [(scenario.id, trial.values, "AB"[table.chosen[i]]) for i, (scenario, trial) in enumerate(table.trials)]
    wanted = []
    for i in range(0, len(rows), 3):
        values = tuple(tuple(row[side] for row in rows[i : i + 3]) for side in ("value_a", "value_b"))
        wanted.append((rows[i]["scenario"], values, rows[i]["choice"]))
    assert seen == wanted
    assert table.statuses() == {"answered": len(table)}


def test_known_weights_are_recovered(files) -> None:
    rows, truth = choice_rows(n_scenarios=12, n_trials=120, temperature=0.1)
    table = read_choices(files("c.csv", rows))["all"]
    found = pair(ReportTable.from_weights(truth), ChoiceModel().fit(table))
    assert found.moments.pooled() > 0.97


def test_the_order_of_rows_and_columns_does_not_matter(files) -> None:
    rows, _ = choice_rows()
    plain = read_choices(files("c.csv", rows))["all"]
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = read_choices(files("s.csv", [dict(reversed(rows[i].items())) for i in order]))["all"]

    def content(table: ChoiceTable) -> set:
        return {
            (s.id, frozenset(zip(s.predictors, *t.values, strict=True)), int(table.chosen[i]))
            for i, (s, t) in enumerate(table.trials)
        }

    assert content(shuffled) == content(plain)


@pytest.mark.parametrize(
    "form",
    [
        {"delimiter": ";"},
        {"delimiter": "\t"},
        {"encoding": "utf-8-sig"},
        {"end": "\r\n"},
        {"end": "\r"},
        {"delimiter": ";", "encoding": "utf-8-sig", "end": "\r\n"},
    ],
    ids=str,
)
def test_the_forms_that_spreadsheets_write_are_read(files, form) -> None:
    rows, _ = choice_rows()
    assert read_choices(files("x.csv", rows, **form))["all"] == read_choices(files("c.csv", rows))["all"]


def test_spaces_capitals_quotes_and_empty_rows_are_no_obstacle(files) -> None:
    rows, _ = choice_rows()
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow([f" {name.upper()} " for name in rows[0]])
    for row in rows:
        writer.writerow([f" {cell} " for cell in row.values()])
        writer.writerow([])
        writer.writerow([" "] * len(row))
    assert read_choices(files("x.csv", text.getvalue()))["all"] == read_choices(files("c.csv", rows))["all"]


def test_names_may_be_hostile(files) -> None:
    rows, _ = choice_rows(n_scenarios=1)
    names = {"rent": "=1+1;DROP TABLE", "size": 'a "quoted", name', "noise": "ß 価格 🏠"}
    hostile = [{**row, "attribute": names[row["attribute"]].replace("=", "+"), "scenario": "-1, ../x"} for row in rows]
    table = read_choices(files("x.csv", hostile))["all"]
    assert table.trials.scenarios[0].id == "-1, ../x"
    assert table.trials.scenarios[0].predictors == ("+1+1;DROP TABLE", 'a "quoted", name', "ß 価格 🏠")


def test_letters_may_be_small_and_numbers_are_the_probability_of_a(files) -> None:
    rows, _ = choice_rows(n_scenarios=1, n_trials=4)
    said = ["a", "B", "0.75", "0.25"]
    table = read_choices(files("c.csv", [{**row, "choice": said[row["trial"]]} for row in rows]))["all"]
    assert table.chosen.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(table.logprob[2:], np.log([[0.75, 0.25], [0.25, 0.75]]), atol=1e-15)
    assert np.isnan(table.logprob[:2]).all()
    np.testing.assert_allclose(table.mass_outside[2:], 0, atol=1e-12)


def test_certain_numbers_are_plain_choices_unless_the_scenario_is_graded(files) -> None:
    rows, _ = choice_rows(n_scenarios=2, n_trials=3)
    said = {"k0": ["1", "0", "0.0"], "k1": ["1", "0", "0.4"]}
    table = read_choices(files("c.csv", [{**r, "choice": said[r["scenario"]][r["trial"]]} for r in rows]))["all"]
    assert table.chosen.tolist() == [0, 1, 1, 0, 1, 1]
    assert np.isnan(table.logprob[:3]).all()
    # The end of the scale: the winner is certain, the loser's log-probability is below anything known.
    np.testing.assert_array_equal(table.logprob[3:5], [[0, math.nan], [math.nan, 0]])


def test_a_tie_falls_to_a_fair_coin_that_no_other_row_moves(files) -> None:
    rows, _ = choice_rows(n_scenarios=4, n_trials=100)
    tied = [{**row, "choice": 0.5} for row in rows]
    table = read_choices(files("c.csv", tied))["all"]
    assert 0.4 < table.chosen.mean() < 0.6
    alone = read_choices(files("one.csv", tied[3:6]))["all"]
    assert alone.chosen[0] == table.chosen[1]


def test_log_probabilities_are_kept_and_choose_where_no_letter_is_given(files) -> None:
    rows, _ = choice_rows(n_scenarios=1, n_trials=4)
    logs = [(-0.1, -3.0), (-3.0, -0.1), (-0.2, ""), (-2.0, -0.5)]
    said = ["A", "", "A", "A"]  # the last was sampled against the odds
    table = read_choices(
        files("c.csv", [{**r, "choice": said[r["trial"]], "logp_a": logs[r["trial"]][0], "logp_b": logs[r["trial"]][1]}
                        for r in rows])
    )["all"]  # fmt: skip
    assert table.chosen.tolist() == [0, 1, 0, 0]
    np.testing.assert_array_equal(table.logprob, [[-0.1, -3.0], [-3.0, -0.1], [-0.2, math.nan], [-2.0, -0.5]])
    assert table.mass_outside[0] == pytest.approx(1 - math.exp(-0.1) - math.exp(-3))
    assert math.isnan(table.mass_outside[2])


def test_what_was_not_answered_is_missing_and_never_a_choice(files) -> None:
    rows, _ = choice_rows(n_scenarios=1, n_trials=6)
    outcome = ["answered", "refused", "Unparsable", "", "timeout", ""]
    said = ["A", "A", "", "", "", "B"]
    table = read_choices(
        files("c.csv", [{**r, "outcome": outcome[r["trial"]], "choice": said[r["trial"]], "logp_a": -1, "logp_b": -1}
                        if r["trial"] != 3 else {**r, "outcome": "", "choice": ""} for r in rows])
    )["all"]  # fmt: skip
    assert table.chosen.tolist() == [0, -1, -1, -1, -1, 1]
    assert table.status.tolist() == ["answered", "refused", "unparsable", "missing", "timeout", "answered"]
    assert np.isnan(table.logprob[1:5]).all()
    fitted = ChoiceModel().fit(table)
    assert (fitted.n_trials.tolist(), fitted.n_missing.tolist()) == ([2], [4])


def test_arms_are_separate_tables_over_shared_scenarios(files) -> None:
    rows, _ = choice_rows()
    both = [{"arm": arm, **row} for arm in ("before", "after") for row in rows]
    both[-1]["choice"] = both[-2]["choice"] = both[-3]["choice"] = "A" if both[-1]["choice"] == "B" else "B"
    tables = read_choices(files("c.csv", both))
    assert list(tables) == ["before", "after"]
    assert tables["before"] == read_choices(files("x.csv", rows))["all"]
    assert (tables["before"].chosen != tables["after"].chosen).sum() == 1
    assert list(read_choices(files("e.csv", [{"arm": "", **row} for row in rows]))) == ["all"]


def test_scenarios_may_differ_in_their_attributes(files) -> None:
    two, _ = choice_rows(n_scenarios=1, axes={"p": (0, 1), "q": (0, 1)})
    ten, _ = choice_rows(n_scenarios=1, axes={f"x{i}": (i, 2 * i + 1.0) for i in range(10)}, seed=1)
    rows = [*two, *({**row, "scenario": "ten"} for row in ten)]
    np.random.default_rng(0).shuffle(rows)
    table = read_choices(files("c.csv", rows))["all"]
    assert {s.id: s.n_attributes for s in table.trials.scenarios} == {"k0": 2, "ten": 10}
    assert sorted(ChoiceModel().fit(table).scenario_ids) == ["k0", "ten"]


def test_the_order_column_says_where_attributes_were_listed(files) -> None:
    rows, _ = choice_rows(n_scenarios=1, n_trials=2)
    place = {0: {"rent": 3, "size": 1, "noise": 2}, 1: {"rent": 1, "size": 2, "noise": 3}}
    table = read_choices(files("c.csv", [{**r, "order": place[r["trial"]][r["attribute"]]} for r in rows]))["all"]
    assert [[s.predictors[k] for k in t.attribute_order or (0, 1, 2)] for s, t in table.trials] == [
        ["size", "noise", "rent"],
        ["rent", "size", "noise"],
    ]
    same = read_choices(files("n.csv", [{**r, "order": 10 + r["trial"]} for r in rows]))["all"]
    assert all(t.attribute_order is None for _, t in same.trials)  # one number a trial lists no attributes


def test_an_option_shown_second_is_put_second_with_its_answer(files) -> None:
    rows, _ = choice_rows(n_scenarios=1, n_trials=40)
    plain = read_choices(files("c.csv", rows))["all"]
    graded = [{**r, "order": "ba" if r["trial"] % 2 else "AB", "logp_a": -0.1, "logp_b": -3} for r in rows]
    table = read_choices(files("o.csv", graded))["all"]
    odd = np.arange(40) % 2 == 1
    np.testing.assert_array_equal(table.chosen, np.where(odd, 1 - plain.chosen, plain.chosen))
    np.testing.assert_allclose(differences(table), np.where(odd[:, None], -1, 1) * differences(plain), atol=1e-12)
    np.testing.assert_array_equal(table.logprob[odd], np.tile([-3, -0.1], (20, 1)))
    assert table.trials.blocks[0].flipped.tolist() == odd.tolist()


def test_values_at_the_very_ends_of_a_computed_range_are_inside(files) -> None:
    rows, _ = choice_rows(n_scenarios=1)
    ends = {"low": 0.1 + 0.2, "high": 0.9}
    rows = [{**row, **ends, "value_a": 0.3, "value_b": 0.9} for row in rows]
    assert len(read_choices(files("c.csv", rows))["all"]) == 12
