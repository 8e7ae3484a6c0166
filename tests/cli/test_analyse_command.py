"""`introspect analyse`, as a user would run it."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "examples" / "data"
CHOICES, REPORTS, TARGETS = (DATA / f"{name}.csv" for name in ("choices", "reports", "targets"))
FIELDS = {
    "n_scenarios", "n_reports_used", "n_reports_dropped", "coverage", "pooled_r", "ci_low", "ci_high", "mean_within_r",
    "median_within_r", "sign_agreement", "top_attribute", "mae", "ceiling", "disattenuated_r", "null_p_context",
    "null_p_attribute", "separated_share", "learned_vs_target_r", "reasons", "diagnostics",
}  # fmt: skip


def strict(text: str) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_is_one_object_with_the_promised_fields(introspect) -> None:
    code, out, err = introspect("analyse", CHOICES, REPORTS, "--targets", TARGETS, "--json")
    assert (code, err) == (0, [])
    assert out.count("\n") == 1
    arms = strict(out)["arms"]
    assert list(arms) == ["before", "after"]
    assert all(set(arm) == FIELDS for arm in arms.values())
    assert arms["before"]["pooled_r"] < arms["after"]["pooled_r"]
    assert introspect("analyse", CHOICES, REPORTS, "--targets", TARGETS, "--json", "--seed", "0")[1] == out


def test_text_shows_each_arm_and_the_published_analysis(introspect) -> None:
    code, out, err = introspect("analyse", CHOICES, REPORTS, "--compat", "pooled-z", "--estimator", "ridge")
    assert (code, err) == (0, [])
    assert [line for line in out.splitlines() if line.startswith("arm ")] == ["arm before", "arm after"]
    assert out.count("The published analysis gives r = ") == 2
    assert "held against choices of arm 'all'" in out


def test_the_page_shows_what_it_prints(introspect) -> None:
    page = (DATA.parents[1] / "docs" / "analyse.md").read_text(encoding="utf-8")
    shown = page.partition("<!-- part of what it prints -->\n```text\n")[2].partition("```")[0]
    _, out, _ = introspect("analyse", CHOICES, REPORTS, "--targets", TARGETS)
    assert shown.strip()
    assert shown in out


def test_the_command_works_in_a_process_of_its_own(process) -> None:
    running = process("analyse", CHOICES, REPORTS, "--json", stdout=subprocess.PIPE)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, "")
    arm = strict(out)["arms"]["after"]
    assert arm["learned_vs_target_r"] is None
    assert "target" in arm["reasons"]["learned_vs_target_r"]


def test_names_that_the_output_cannot_show_are_one_line_and_json_needs_no_encoding(process, tmp_path) -> None:
    text = CHOICES.read_text(encoding="utf-8"), REPORTS.read_text(encoding="utf-8")
    files = [tmp_path / "c.csv", tmp_path / "r.csv"]
    for path, content in zip(files, text, strict=True):
        path.write_text(content.replace("violin", "Café 🎻"), encoding="utf-8")
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    running = process("analyse", *files, stdout=subprocess.PIPE, env=env)
    _, err = running.communicate(timeout=120)
    assert (running.returncode, len(err.splitlines())) == (2, 1), err
    assert "PYTHONIOENCODING" in err
    running = process("analyse", *files, "--json", stdout=subprocess.PIPE, env=env)
    out, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (0, "")
    assert any("Café 🎻" in line for line in strict(out)["arms"]["before"]["diagnostics"])


def changed(path: Path, folder: Path, row: int, column: str, text: str) -> Path:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row - 2][column] = text
    out = folder / path.name
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


@pytest.mark.parametrize(
    ("path", "row", "column", "text"),
    [
        (CHOICES, 20, "choice", "maybe"),
        (CHOICES, 20, "value_a", "ten"),
        (CHOICES, 20, "attribute", "colour of the roof"),
        (REPORTS, 20, "weight", "inf"),
        (REPORTS, 20, "attribute", "colour of the roof"),
        (TARGETS, 20, "attribute", "colour of the roof"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_mistake_is_one_line_with_file_row_and_column(introspect, tmp_path, path, row, column, text, options) -> None:
    bad = changed(path, tmp_path, row, column, text)
    files = [bad if bad.name == good.name else good for good in (CHOICES, REPORTS, TARGETS)]
    code, out, err = introspect("analyse", *files[:2], "--targets", files[2], *options)
    assert (code, out, len(err)) == (2, "", 1), err
    assert f"{bad}: row {row}, column {column}: " in err[0]


def test_names_that_a_model_made_up_can_be_counted_instead(introspect, tmp_path) -> None:
    bad = changed(REPORTS, tmp_path, 20, "attribute", "colour of the roof")
    dropped = strict(introspect("analyse", CHOICES, REPORTS, "--json")[1])["arms"]["before"]["n_reports_dropped"]
    code, out, err = introspect("analyse", CHOICES, bad, "--json", "--drop-unknown")
    assert (code, err) == (0, [])
    assert strict(out)["arms"]["before"]["n_reports_dropped"] == dropped + 1


def test_files_that_are_not_there_are_one_line(introspect, tmp_path) -> None:
    for files in ((tmp_path / "none.csv", REPORTS), (CHOICES, tmp_path / "none.csv"), (CHOICES, tmp_path)):
        code, out, err = introspect("analyse", *files)
        assert (code, out, len(err)) == (2, "", 1)
        assert str(tmp_path) in err[0]


@pytest.mark.parametrize(
    "options", [("--seed", "-1"), ("--seed", "1.5"), ("--seed", ""), ("--estimator", "best"), ("--compat", "raw")]
)
def test_an_option_that_makes_no_sense_is_one_line(introspect, options) -> None:
    code, out, err = introspect("analyse", CHOICES, REPORTS, f"{options[0]}={options[1]}")
    assert (code, out, len(err)) == (2, "", 1)
    assert options[0] in err[0]
