"""No file, however broken, gets anything but a table or one line."""

from __future__ import annotations

import csv
import io
import random
import warnings

import pytest
from tidy_rows import choice_rows, report_rows

from introspect.analysis import read_choices, read_reports, read_targets
from introspect.errors import MeasureError

CELLS = [
    "", " ", "A", "b", "0", "1", "0.5", "-0", "1e308", "-1e308", "1e-320", "1e999", "nan", "inf", "None", "0x10", "1_0",
    "١", "２", "½", "=1+1", '"', "'", "a\nb", "\ufeff", "\u2028", "\x7f", "é" * 300, "AB", "BA", "3", "-1", "1.0", "k0",
    "rent", "size=x", "answered", "refused", ";", ",", "\t", "true", "🏠", "5e-324", "9" * 400, "%s", "{0}", "\\",
]  # fmt: skip
JUNK = [b",", b'"', b"\n", b"\r", b"\x00", b"\xff", b";", b"\t", b"\xef\xbb\xbf", b"A", b"1", b"-", b".", b"\xc3\xa9"]


def as_bytes(rows: list[dict]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def broken(rows: list[dict], rng: random.Random) -> bytes:
    rows = [dict(row) for row in rows]
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        kind = rng.random()
        i, column = rng.randrange(len(rows)), rng.choice(list(rows[0]))
        if kind < 0.5:
            rows[i][column] = rng.choice(CELLS)
        elif kind < 0.7:  # a whole trial, or a whole column, says the same odd thing
            text, alike = rng.choice(CELLS), rng.choice(["scenario", "attribute", None])
            for row in rows:
                if alike is None or row[alike] == rows[i][alike]:
                    row[column] = text
        elif kind < 0.8:
            rows.insert(rng.randrange(len(rows)), dict(rows[i]))
        elif kind < 0.9 and len(rows) > 1:
            del rows[i]
        else:
            rng.shuffle(rows)
    raw = bytearray(as_bytes(rows))
    for _ in range(rng.choice([0, 0, 1, 3])):
        at = rng.randrange(len(raw))
        raw[at : at + rng.choice([0, 0, 1, 20])] = rng.choice(JUNK)
    return bytes(raw)


@pytest.mark.parametrize("seed", range(4))
def test_a_broken_file_is_read_or_told_in_one_line(files, seed: int) -> None:
    rng = random.Random(seed)
    rows, truth = choice_rows(n_scenarios=2, n_trials=3)
    extra = [{"arm": "x", **r, "outcome": "answered", "logp_a": -0.5, "logp_b": -1, "order": "AB"} for r in rows]
    good = read_choices(files("good.csv", rows))
    targets = [{k: v for k, v in r.items() if k != "sample"} for r in report_rows(truth, samples=1)]
    read, told = 0, []
    for _ in range(120):
        which = rng.randrange(4)
        path = files("x.csv", broken([rows, extra, report_rows(truth), targets][which], rng))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                if which < 2:
                    read_choices(path)
                elif which == 2:
                    read_reports(path, good, drop_unknown=rng.random() < 0.5)
                else:
                    read_targets(path, good)
                read += 1
            except MeasureError as error:
                told.append(str(error))
    assert all("\n" not in text and str(path) in text for text in told)
    assert read > 10
    assert len(told) > 10
