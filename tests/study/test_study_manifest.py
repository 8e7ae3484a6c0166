"""What a study file says about how the study was made, and that one process at a time makes it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from small_studies import small_study

from introspect import __version__
from introspect.errors import StoreError
from introspect.store import FolderLock, Store
from introspect.study.recipe import recipe_of, study_of


def test_the_manifest_says_what_made_the_figures(finished: Path) -> None:
    with Store.open(finished / "study.db") as store:
        manifest = dict(store.manifest)
        trainings = {step.name: step.result for step in store.steps() if "train " in step.name}
    (run,) = manifest["surroundings"]
    assert run["introspect"] == __version__
    assert run["python"].endswith(platform.python_version())
    assert run["packages"]["numpy"] == metadata.version("numpy")
    assert manifest["recipe"]["seeds"] == [0]
    made = manifest["seed 0"]
    assert set(made["trials"]) == {"instil", "measure", "native"}
    assert len({*made["trials"].values(), made["preferences"]}) == 4
    assert set(made["trainings"]) == {"instilled", "fold1", "fold2", "all"}
    for name, trained in made["trainings"].items():
        step = trainings[f"seed 0: train {name}"]
        assert trained["data"] == step["data"]
        assert trained["spec"] == step["spec"]  # as it was used: with the seed that this training had
        assert trained["spec"]["seed"] > 0
        assert trained["steps"] == step["steps"]
    assert manifest["study"]["model"]["provider"] == "simulated"


def test_every_stage_was_run_once_and_finished(finished: Path) -> None:
    with Store.open(finished / "study.db") as store:
        assert [stage.name for stage in store.stages()] == [step.name for step in store.steps()]
        assert {stage.outcome for stage in store.stages()} == {"finished"}


def test_the_manifest_names_no_user_host_or_folder(finished: Path) -> None:
    with Store.open(finished / "study.db") as store:
        text = json.dumps(dict(store.manifest))
    assert platform.node() not in text
    assert str(finished) not in text


def test_a_recipe_makes_the_same_study(tmp_path: Path) -> None:
    study = small_study(tmp_path, seeds=(3, 1), control="known", durability="full")
    recipe = json.loads(json.dumps(recipe_of(study)))
    again = study_of(recipe, tmp_path / "elsewhere")
    assert recipe_of(again) == recipe_of(study)
    assert (again.model, again.protocol, again.metric) == (study.model, study.protocol, study.metric)
    assert again.scenarios.hash == study.scenarios.hash
    assert again.style.id == study.style.id


class OwnStyle:
    """Somebody's own words."""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"style": {"is": "own", "of": "mine.Style"}}, r"replay_study\(..., style=...\)"),
        ({"style": {"is": "os.system", "of": {}}}, "'os.system', which this version of introspect does not know"),
        ({"metric": {"is": "AccuracyMetric", "of": {"n_boot": -1}}}, "metric of the study cannot be read"),
        ({"model": {"is": "ModelRef", "of": {"provider": ""}}}, "model of the study cannot be read"),
        ({"scenarios": {"is": "scenarios", "of": [{"id": 1}]}}, "scenarios of the study cannot be read"),
        ({"seeds": []}, "settings of the study cannot be read"),
        ({"novelty": 1}, "another version of introspect"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_followed_says_why(tmp_path: Path, change: dict, said: str) -> None:
    recipe = recipe_of(small_study(tmp_path)) | change
    with pytest.raises(StoreError, match=said):
        study_of(recipe, tmp_path)


def test_a_part_of_the_users_own_making_is_named_and_may_be_given(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    recipe = recipe_of(small_study(tmp_path, style=OwnStyle()))
    assert recipe["style"]["of"].endswith("OwnStyle")
    assert study_of(recipe, tmp_path, style=study.style).style is study.style


RUN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from small_studies import small_study

class Slow:
    def stage(self, name, done):
        if "instilled: choices" in name:
            print("running", flush=True)
            time.sleep(float(sys.argv[3]))
    def progress(self, done, total, unit):
        pass

small_study(sys.argv[2]).run(Slow())
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(Path(__file__).parent), str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "running\n"
    return process


def test_a_second_process_is_told_who_runs_the_study_and_may_take_over_when_it_dies(tmp_path: Path, finished) -> None:
    first = start(tmp_path, 60)
    with pytest.raises(StoreError, match=rf"in use by process {first.pid} on .* since "):
        small_study(tmp_path).run()
    first.kill()
    first.wait(20)
    first.stdout.close()
    small_study(tmp_path).run()
    assert (tmp_path / "result.json").read_bytes() == (finished / "result.json").read_bytes()


def test_a_second_process_that_waits_repeats_nothing(tmp_path: Path) -> None:
    first = start(tmp_path, 0.5)
    seen: list[tuple[str, bool]] = []

    class Watcher:
        def stage(self, name: str, done: bool) -> None:
            seen.append((name, done))

        def progress(self, done: int, total: int, unit: str) -> None: ...

    small_study(tmp_path).run(Watcher(), wait=120)
    assert first.wait(20) == 0
    first.stdout.close()
    waiting, *stages = seen
    assert f"in use by process {first.pid}" in waiting[0]
    assert {done for _, done in stages} == {True}


def test_the_folder_is_free_again_after_a_study_ended_or_failed(tmp_path: Path) -> None:
    class Stop:
        def stage(self, name: str, done: bool) -> None:
            raise KeyError(name)

        def progress(self, done: int, total: int, unit: str) -> None: ...

    with pytest.raises(KeyError):
        small_study(tmp_path).run(Stop())
    with FolderLock(tmp_path):
        pass
