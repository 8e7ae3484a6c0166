"""Whatever is wrong with a tidy file: one line that names the file, the row and the column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tidy_rows import choice_rows, report_rows

from introspect.analysis import read_choices, read_reports, read_targets
from introspect.errors import IntrospectError, MeasureError

Rows = list[dict[str, Any]]


def edited(i: int, **changes: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **changes} if k == i else row for k, row in enumerate(rows)]


def everywhere(**changes: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **changes} for row in rows]


def without(*dropped: int) -> Callable[[Rows], Rows]:
    return lambda rows: [row for k, row in enumerate(rows) if k not in dropped]


def edited_names(old: str, new: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, "scenario": row["scenario"].replace(old, new)} for row in rows]


def no_column(name: str) -> Callable[[Rows], Rows]:
    return lambda rows: [{k: v for k, v in row.items() if k != name} for row in rows]


def many(n: int) -> Callable[[Rows], Rows]:
    def make(rows: Rows) -> Rows:
        return [{**row, "attribute": f"x{k}"} for row in rows if row["attribute"] == "rent" for k in range(n)]

    return make


# Rows count from the header, which is row 1: the record with index 4 is row 6. It is "size" in trial 1 of k0.
BAD_CHOICES: dict[str, tuple[Callable[[Rows], Rows], list[str]]] = {
    "column missing": (no_column("value_b"), ["row 1", "value_b"]),
    "not a number": (edited(4, value_a="much"), ["row 6", "column value_a", "'much'"]),
    "decimal comma": (edited(4, value_a="55,5"), ["row 6", "column value_a", "'55,5'", "point"]),
    "underscore": (edited(4, value_a="5_5"), ["row 6", "column value_a", "'5_5'"]),
    "empty number": (edited(4, low=""), ["row 6", "column low", "empty"]),
    "nan": (edited(4, value_b="nan"), ["row 6", "column value_b", "'nan'"]),
    "infinite": (edited(4, high="inf"), ["row 6", "column high", "'inf'"]),
    "low above high": (edited(4, low=120, high=20), ["row 6", "column low", "low=120", "high=20"]),
    "low equals high": (edited(4, low=20, high=20), ["row 6", "column low"]),
    "another range": (edited(4, high=130), ["row 6", "column high", "130", "120", "row 3"]),
    "value above": (edited(4, value_a=120.5), ["row 6", "column value_a", "20 to 120", "120.5"]),
    "value below": (edited(4, value_b=-1), ["row 6", "column value_b", "-1"]),
    "choice differs in its trial": (edited(4, choice="0.123"), ["row 6", "column choice", "row 5", "'1'", "'k0'"]),
    "choice filled in once": (edited(4, choice=""), ["row 6", "column choice"]),
    "choice is a third letter": (everywhere(choice="C"), ["row 2", "column choice", "'C'", "0 to 1"]),
    "choice above 1": (everywhere(choice="1.5"), ["row 2", "column choice", "'1.5'"]),
    "choice nan": (everywhere(choice="nan"), ["row 2", "column choice", "'nan'"]),
    "choice below 0": (everywhere(choice="-0.2"), ["row 2", "column choice"]),
    "row twice": (lambda rows: [*rows, rows[4]], ["row 74", "row 6", "attribute"]),
    "attribute missing in a trial": (without(4), ["row 5", "column attribute", "'1'", "'size'", "'k0'"]),
    "attribute misspelt": (edited(4, attribute="sise"), ["row 6", "column attribute", "sise", "1 of the 12"]),
    "one attribute": (lambda rows: rows[::3], ["row 2", "column attribute", "1 attribute"]),
    "eleven attributes": (many(11), ["row 2", "column attribute", "11 attributes", "2 to 10"]),
    "no scenario": (edited(4, scenario=" "), ["row 6", "column scenario", "empty"]),
    "no trial": (edited(4, trial=""), ["row 6", "column trial", "empty"]),
    "no attribute": (edited(4, attribute=""), ["row 6", "column attribute", "empty"]),
    "equals sign in a name": (
        lambda rows: [{**r, "attribute": "a=b" if r["attribute"] == "size" else r["attribute"]} for r in rows],
        ["row 3", "column attribute", "="],
    ),
    "line break in a name": (edited_names("k", "k\n"), ["row 2", "column scenario", "one line"]),
    "line break in an arm": (everywhere(arm="x\ny"), ["row 2", "column arm", "one line"]),
    "digits beyond floats": (
        lambda rows: [{**r, "low": 0, "high": "1e-40", "value_a": 0, "value_b": 0} for r in rows],
        ["row 2", "column attribute", "digits"],
    ),
    "arm in some rows": (lambda rows: edited(0, arm="")(everywhere(arm="x")(rows)), ["row 2", "column arm"]),
    "log-probability above 0": (everywhere(logp_a=0.5, logp_b=-1), ["row 2", "column logp_a", "0.5"]),
    "log-probability no number": (everywhere(logp_a="low", logp_b=-1), ["row 2", "column logp_a", "'low'"]),
    "log-probability infinite": (everywhere(logp_a="-inf", logp_b=0), ["row 2", "column logp_a", "'-inf'"]),
    "probabilities above 1": (everywhere(logp_a=-0.1, logp_b=-0.1), ["row 2", "column logp_b", "1.8097"]),
    "log-probability differs": (edited(4, logp_a=-1), ["row 6", "column logp_a", "row 5"]),
    "answered without a choice": (everywhere(choice="", outcome="answered"), ["row 2", "column choice", "answered"]),
    "unknown outcome with a choice": (everywhere(outcome="ok"), ["row 2", "column outcome", "'ok'", "refused"]),
    "order a word": (everywhere(order="first"), ["row 2", "column order", "'first'"]),
    "order a fraction": (everywhere(order=1.5), ["row 2", "column order", "'1.5'"]),
    "order mixed": (lambda rows: [{**r, "order": "AB" if r["trial"] else 1} for r in rows], ["row 2", "column order"]),
    "order differs": (lambda rows: edited(4, order="BA")(everywhere(order="AB")(rows)), ["row 6", "row 5"]),
}  # fmt: skip

BAD_TEXT: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["is empty", "scenario"]),
    "only a header": (b"scenario,trial,attribute,low,high,value_a,value_b,choice\n", ["no rows"]),
    "empty rows": (b"\n\n\n", ["is empty"]),
    "another table": (b"name,age\nAda,36\n", ["row 1", "scenario", "name, age"]),
    "latin-1": ("scenario,trial\nCafé,1\n".encode("latin-1"), ["row 2", "UTF-8"]),
    "utf-16": ("scenario,trial\nk,1\n".encode("utf-16"), ["UTF-16", "UTF-8"]),
    "binary": (b"PK\x03\x04\x00\x00", ["NUL"]),
    "column twice": (
        b"scenario,trial,attribute,low,high,value_a,value_b,choice,Choice\nk,1,p,0,1,0,1,A,B\n", ["row 1", "choice"],
    ),
    "too few cells": (
        b"scenario,trial,attribute,low,high,value_a,value_b,choice\nk,1,p,0,1,0,1,A\nk,1,q,0,1,0\n",
        ["row 3", "6 cells", "8"],
    ),
    "too many cells": (
        b"scenario,trial,attribute,low,high,value_a,value_b,choice\nk,1,p,0,1,0,1,A,x\n", ["row 2", "9 cells"],
    ),
    "open quote": (
        b'scenario,trial,attribute,low,high,value_a,value_b,choice\nk,1,p,0,1,0,1,A\n"k,1,q,0,1,0,1,A\n',
        ["row 3", "CSV"],
    ),
}  # fmt: skip


def one_line(error: pytest.ExceptionInfo[BaseException], path: Any, needles: list[str]) -> None:
    text = str(error.value)
    assert isinstance(error.value, IntrospectError)
    assert "\n" not in text
    assert len(text) < 400
    for needle in [str(path), *needles]:
        assert needle in text, text


@pytest.mark.parametrize("name", BAD_CHOICES)
def test_bad_choices_are_named_with_row_and_column(files, name: str) -> None:
    change, needles = BAD_CHOICES[name]
    path = files("c.csv", change(choice_rows()[0]))
    with pytest.raises(MeasureError) as error:
        read_choices(path)
    one_line(error, path, needles)


@pytest.mark.parametrize("name", BAD_TEXT)
def test_a_file_that_is_no_table_is_one_line(files, name: str) -> None:
    content, needles = BAD_TEXT[name]
    path = files("c.csv", content)
    with pytest.raises(MeasureError) as error:
        read_choices(path)
    one_line(error, path, needles)


def test_rows_are_numbered_as_an_editor_of_tables_shows_them(files) -> None:
    header = "scenario,trial,attribute,low,high,value_a,value_b,choice"
    text = f'{header}\n\n"k\nk",1,p,0,1,0,1,A\n\nk,1,r,0,1,zero,1,A\n'
    with pytest.raises(MeasureError, match=r"row 5, column value_a"):
        read_choices(files("c.csv", text))


def test_a_file_that_is_not_there_and_a_folder_are_one_line(tmp_path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(MeasureError) as error:
            read_choices(path)
        one_line(error, path, ["cannot be read"])


BAD_REPORTS: dict[str, tuple[Callable[[Rows], Rows], list[str]]] = {
    "column missing": (no_column("sample"), ["row 1", "sample"]),
    "unknown attribute": (edited(4, attribute="sise"), ["row 6", "column attribute", "'sise'", "'size', 'noise'"]),
    "not a number": (edited(4, weight="high"), ["row 6", "column weight", "'high'"]),
    "nan": (edited(4, weight="NaN"), ["row 6", "column weight"]),
    "infinite": (edited(4, weight="-inf"), ["row 6", "column weight"]),
    "beyond any scale": (edited(4, weight="1e200"), ["row 6", "column weight", "'1e200'"]),
    "weight twice": (edited(4, attribute="rent"), ["row 6", "column attribute", "twice"]),
    "no sample": (edited(4, sample=""), ["row 6", "column sample", "empty"]),
    "outcome differs": (
        lambda rows: edited(4, outcome="refused")(everywhere(outcome="answered")(rows)),
        ["row 6", "column outcome", "row 5"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_REPORTS)
def test_bad_reports_are_named_with_row_and_column(files, name: str) -> None:
    change, needles = BAD_REPORTS[name]
    rows, truth = choice_rows()
    choices = read_choices(files("c.csv", rows))
    path = files("r.csv", change(report_rows(truth)))
    with pytest.raises(MeasureError) as error:
        read_reports(path, choices)
    one_line(error, path, needles)


BAD_TARGETS: dict[str, tuple[Callable[[Rows], Rows], list[str]]] = {
    "column missing": (no_column("weight"), ["row 1", "weight"]),
    "unknown attribute": (edited(1, attribute="sise"), ["row 3", "column attribute", "'sise'"]),
    "not a number": (edited(1, weight="-"), ["row 3", "column weight"]),
    "empty": (edited(1, weight=""), ["row 3", "column weight", "empty"]),
    "twice": (edited(1, attribute="rent"), ["row 3", "column attribute", "two targets"]),
    "one is missing": (without(1), ["row 2", "column scenario", "'size'"]),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_bad_targets_are_named_with_row_and_column(files, name: str) -> None:
    change, needles = BAD_TARGETS[name]
    rows, truth = choice_rows()
    choices = read_choices(files("c.csv", rows))
    path = files(
        "t.csv", change([{k: v for k, v in r.items() if k != "sample"} for r in report_rows(truth, samples=1)])
    )
    with pytest.raises(MeasureError) as error:
        read_targets(path, choices)
    one_line(error, path, needles)
