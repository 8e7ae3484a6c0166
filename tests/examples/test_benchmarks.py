"""The benchmarks run; their figures are for people to read."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_store_is_compared_with_its_rivals_in_one_run(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "bench_store.py"), "--replies", "20", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(write|read|ask again) +([\d,]+) +([\d,]+) +([\d,]+) +[\d.]+ x, [\d.]+ x$", done.stdout, re.M)
    assert [row[0] for row in rows] == ["write", "read", "ask again"]
    assert all(int(rate.replace(",", "")) > 0 for row in rows for rate in row[1:])
    assert not list(tmp_path.iterdir())


def test_the_store_is_measured_as_hosted_studies_use_it(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "bench_store_hosted.py"), "--calls", "100", "--cached", "200"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^(?:kill|full), (?:one by one|in groups) +[\d,]+ +\d+ ", done.stdout, re.M)) == 4
    assert re.search(r"^200 cached replies .* read again in [\d.]+ s", done.stdout, re.M)
    assert not list(tmp_path.iterdir())


def test_the_hosted_path_is_compared_with_the_bare_sdk_in_one_run(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "bench_hosted.py"), "--requests", "20", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(bare SDK|introspect)(?: +[\d,.]+){4}$", done.stdout, re.M) == ["bare SDK", "introspect"]
    assert not list(tmp_path.iterdir())


def test_designs_are_compared_with_random_pairs():
    command = [sys.executable, str(BENCHMARKS / "bench_designs.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    rows = re.findall(
        r"^(det|logit10|logit5|lapse10|item) +0\.9[58] +\S+( +\S+ +x.{4} \+- .{4}){3}$", done.stdout, re.M
    )
    assert [row[0] for row in rows] == [n for n in ("det", "logit10", "logit5", "lapse10", "item") for _ in range(2)]


def test_patching_and_dictionaries_are_timed():
    command = [sys.executable, str(BENCHMARKS / "bench_internals.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^whole runs / restarts, all blocks( +[\d.]+){3} x$", done.stdout, re.M)
    assert re.search(r"^dictionary, tokens/s", done.stdout, re.M)


def test_the_validation_of_intervals_runs_and_prints_all_its_tables():
    command = [sys.executable, str(BENCHMARKS / "validate_intervals.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^## ", done.stdout, re.M)) == 7
    assert len(re.findall(r"^\| (?:10|deterministic|logistic)", done.stdout, re.M)) == 4 + 4 + 3 + 3 + 2 + 4 + 8


def test_the_choice_engine_is_compared_with_its_rivals_in_one_table():
    command = [sys.executable, str(BENCHMARKS / "bench_estimation.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^([\w, -]+?) +([\d,]+) +[\d.]+ +\d+x$", done.stdout, re.M))
    assert {"introspect", "introspect, Firth", "statsmodels Logit", "scikit-learn, tight"} <= set(rows)
    assert all(int(rate.replace(",", "")) > 0 for rate in rows.values())
    assert re.search(r"statsmodels Logit: estimates \de-", done.stdout)
    assert len(re.findall(r"resamples +[\d,]+ +[\d.]+ +peak \d+ MB$", done.stdout, re.M)) == 2
    assert re.search(r"^50 contexts, 3 reports each +[\d.]+ +peak \d+ MB$", done.stdout, re.M)
    assert len(re.findall(r"^\w+, (?:random|d-optimal|bald) +\S+x  \+- \S+, \S+ trials$", done.stdout, re.M)) == 15


def test_the_local_trainer_is_compared_with_trl_in_one_run():
    pytest.importorskip("trl")
    command = [sys.executable, str(BENCHMARKS / "bench_tuning.py"), "--model", "tiny", "--steps", "1", "--batch", "2"]
    done = subprocess.run([*command, "--threads", "1"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(bare TRL|answer logits only|introspect) +([\d,]+) +([\d.]+) +([\d,]+)", done.stdout, re.M)
    assert [row[0] for row in rows] == ["bare TRL", "answer logits only", "introspect"]
    assert all(int(row[1].replace(",", "")) > 0 for row in rows)


def test_reading_choices_is_compared_with_loops_over_generate_in_one_run(tmp_path):
    spec = importlib.util.spec_from_file_location(
        "tiny_models", Path(__file__).parents[1] / "backend/local/tiny_chat.py"
    )
    tiny_models = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny_models)
    folder = tiny_models.make_model(tmp_path, context=4096, sharp=4.0)
    command = [sys.executable, str(BENCHMARKS / "bench_readout.py"), "--model", str(folder)]
    command += ["--contexts", "1", "--choices", "2", "--background", "0,1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^ +(\d+)( +[\d.]+){3}  [\d.]+ x batched, .* within (\S+)$", done.stdout, re.M)
    assert len(rows) == 2
    assert int(rows[0][0]) < int(rows[1][0])
    assert all(float(row[2]) < 1e-4 for row in rows)
