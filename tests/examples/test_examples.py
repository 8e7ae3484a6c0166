"""Every script in examples/ runs as a user would run it, and prints what it is there to show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from introspect.backend.models import locate

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path, *arguments: str, threads: int = 1, seconds: float = 300) -> str:
    """What an example prints, run in an empty folder."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "error::UserWarning:__main__"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def random_model(folder: Path) -> None:
    """A random network of two layers with a chat template."""
    make = "import sys; sys.path.insert(0, sys.argv[1]); import bench_tuning, pathlib; "
    make += "bench_tuning.prepare('tiny', pathlib.Path(sys.argv[2]))"
    benchmarks = str(EXAMPLES.parent / "benchmarks")
    subprocess.run([sys.executable, "-c", make, benchmarks, str(folder)], check=True, capture_output=True)


def numbers(pattern: str, text: str) -> list[float]:
    """The numbers that a pattern's groups match, once."""
    found = re.search(pattern, text)
    assert found is not None, f"{pattern!r} is not in:\n{text}"
    return [float(group) for group in found.groups()]


@pytest.mark.slow
def test_the_whole_loop_on_a_chat_model_tells_how_it_went(tmp_path):
    """On a random network of two layers, which cannot learn it: a failure is told as one, with what to try."""
    pytest.importorskip("trl")
    random_model(tmp_path / "tiny")
    sizes = ["--contexts", "4", "--choices", "8", "--held-out", "8", "--looks", "2"]
    told = run("smollm2_cpu.py", tmp_path, "--model", "tiny", *sizes, "--out", "out")
    assert re.search(r"heaviest attribute alone: \d\.\d{3} of 8", told)
    assert [line.split()[0] for line in told.splitlines() if re.match(r" +\d+ ", line)] == ["0", "16", "32"]
    assert "Instilling failed: " in told
    assert re.search(r"^1\. .*Try: ", told, re.M)
    assert told.count("! instilling failed") == 2
    assert (tmp_path / "out" / "curve.csv").read_text().startswith("examples,step,steps,accuracy,one_sided,target_r,")
    assert (tmp_path / "out" / "model.json").is_file()


@pytest.mark.slow
def test_a_model_and_others_explain_the_same_directions_beside_the_controls(tmp_path):
    """On random networks, which explain nothing: the path, and what it leaves behind."""
    pytest.importorskip("transformers")
    from safetensors.torch import load_file, save_file

    small = "task: planted\nplanted: {seen: 4, directions: 6, test: 4}\ntrain: {epochs: 1}\nretrieval: 4\n"
    (tmp_path / "small.yaml").write_text(small)
    random_model(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    weights = load_file(tmp_path / "two" / "model.safetensors")
    save_file({k: v.flip(-1).contiguous() for k, v in weights.items()}, tmp_path / "two" / "model.safetensors")
    models = ["--target", "one", "--other", "two"]
    told = run("self_or_other.py", tmp_path, *models, "--config", "small.yaml", "--out", "o")
    assert re.search(r"^self: .*retriev", told, re.M), told
    for arm in ("self, rotated", "two", "two, aligned", "no vector", "shuffled vector"):
        assert re.search(rf"^self minus {arm}: .*(not told apart|self is (better|worse))$", told, re.M), told
    kept = json.loads((tmp_path / "o" / "access.json").read_text())
    assert len(kept["rows"]) == 6
    assert 0 <= kept["aligned"]["two"] <= 1
    assert (tmp_path / "o" / "access.png").is_file()


@pytest.mark.slow
@pytest.mark.skipif(locate("smollm2") is None, reason="run `introspect models get smollm2` first")
def test_a_small_language_model_takes_up_a_preference_from_choices_alone(tmp_path):
    """A context of five attributes: clearly better than by the heaviest attribute alone, and without a side."""
    sizes = ["--contexts", "1", "--choices", "800", "--lr", "6.5e-4", "--looks", "0", "--out", "out"]
    told = run("smollm2_cpu.py", tmp_path, *sizes, threads=1, seconds=7200)
    (heaviest,) = numbers(r"heaviest attribute alone: (\d\.\d{3}) of 200", told)
    right, low = numbers(r"Instilling took: (\d+)% of 200 .*95 % interval (\d+)%", told)
    assert right >= 80, told
    assert low > 70, told
    print(f"heaviest alone {heaviest:.0%}, tuned {right:.0f} %")


def test_every_example_has_a_test():
    tested = set(re.findall(r"run\(\"(\w+\.py)\"", Path(__file__).read_text(encoding="utf-8")))
    assert tested | {"own_suite.py"} == {path.name for path in EXAMPLES.glob("*.py")}  # run by pytest, below


@pytest.mark.slow
def test_a_probe_reads_what_an_organism_chooses_by_whether_or_not_it_can_say_it(tmp_path):
    told = run("three_routes.py", tmp_path, "--contexts", "40", "--figure", "routes.png")
    shared, split = told.split("split\n")
    for part in (shared, split):
        (probe,) = numbers(r"  probe, choices: r = ([-+][\d.]+)", part)
        (report,) = numbers(r"  report, choices: r = ([-+][\d.]+)", part)
        assert probe > report + 0.2
    assert (tmp_path / "routes.png").is_file()


def test_the_loop_by_hand_finds_that_report_training_generalises(tmp_path):
    text = run("manual_loop.py", tmp_path)
    (recovered,) = numbers(r"hidden preferences: r = (\S+)", text)
    (untuned,) = numbers(r"untuned model: r = (\S+)", text)
    (instilled,) = numbers(r"instilled model: r = (\S+)", text)
    before, after, low = numbers(
        r"r went from (\S+) to ([\d.]+),.*over the contexts of this training run (\S+) to", text
    )
    (kept,) = numbers(r"before and after: r = (\S+)", text)
    assert recovered > 0.9
    assert abs(untuned) < 0.2
    assert instilled > 0.3
    assert after > before
    assert low > 0
    assert kept == pytest.approx(1, abs=0.005)
    assert not list(tmp_path.iterdir())


def test_a_domain_of_ones_own_runs_as_a_study_and_its_leaks_are_named(tmp_path):
    text = run("own_domain.py", tmp_path)
    assert "10 contexts, each with the weights" in text
    assert "ground=clay, ground=sand" in text
    assert "share 5 attribute names" in text
    (r,) = numbers(r"\nreport-trained  .*?% +[\d.]+ +[\d.]+ +([+-][\d.]+)", text)
    assert r > 0.3
    assert "All gates pass." in text


def test_a_backend_of_ones_own_is_caught_saying_what_it_does_not_do(tmp_path):
    text = run("own_backend.py", tmp_path)
    assert "keeps what every backend promises" in text
    assert "measured: {'age of the instrument': 100" in text
    assert "tells them: {'age of the instrument': 0.0" in text
    (r,) = numbers(r"correlate at r = (\S+)", text)
    assert r < 0
    assert "named in 0% of the contexts" in text


def test_a_hatchling_learns_the_language_and_can_be_kept(tmp_path):
    pytest.importorskip("torch")
    text = run("grow_organism.py", tmp_path, "--steps", "12", "--out", "mine.safetensors")
    first, last = numbers(r"loss a word (\S+) at first, (\S+) in the end", text)
    assert last < first / 2
    (followed,) = numbers(r"(\S+) of its choices in 40 native contexts", text)
    assert 0.4 < followed < 0.6
    assert (tmp_path / "mine.safetensors").is_file()


def test_a_suite_of_ones_own_runs_under_pytest(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            "--noconftest",
            str(EXAMPLES / "own_suite.py"),
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"38 passed, 3 skipped", done.stdout), done.stdout
