"""The whole chain, durably: untuned -> instilled -> report-trained -> native."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from introspect._notebook import short_repr
from introspect._version import __version__
from introspect.backend.wire import ModelRef, canonical
from introspect.decision import DecisionScenario, PromptStyle, ScenarioSet
from introspect.errors import ConfigError, StoreError
from introspect.measure import AccuracyMetric
from introspect.store import Durability, FolderLock, Store
from introspect.study.arms import arms_of, drift_of, rises_of
from introspect.study.claims import Claim
from introspect.study.costs import StudyPlan, plan_study
from introspect.study.gates import gates_of, verdict_of
from introspect.study.protocol import StudyProtocol
from introspect.study.recipe import recipe_of
from introspect.study.result import SeedResult, StudyResult
from introspect.study.seed_data import SeedData
from introspect.study.stages import Stages
from introspect.study.surroundings import surroundings
from introspect.study.watch import SilentWatcher, Watcher
from introspect.study.weights_seen import check_weights

if TYPE_CHECKING:
    from introspect.backend import Budget

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """Does a model know what drives its choices, and does training make it better at telling?

    Per seed: draw hidden preferences; ask the untuned model; instil the preferences by choices alone; measure the
    weights from fresh choices and ask for reports; train reports on all folds but one and measure and ask again on
    the held-out one; train reports on all contexts and ask about native preferences.

    Every stage is computed once and kept in ``out/study.db``; weights of trained models lie in ``out/models``. Run
    the same study again after a kill and it goes on where it stopped.

    Args:
        model: The untuned model; its provider must be able to train.
        scenarios: Contexts whose preferences are instilled.
        native: Contexts that nothing is instilled in; may be empty.
        style: Words prompts and reads answers.
        protocol: How much of everything.
        out: Folder of the study.
        seeds: One complete run each: preferences, trials, and order of training examples.
        metric: Scores reports.
        control: What is known about the model by construction, printed with the result.
        durability: "kill": what is paid for survives the death of the process; "full": a loss of power too.
        batch: Ask through the service's Batch API (models of provider "openai"): cheaper, within a day a stage.
        budget: What asking a hosted model may cost; not together with `batch`. The run stops before the call that could
            break the cap, and goes on where it stopped when it is run again with more. Training is not counted.

    Raises:
        ConfigError: Settings that cannot make a study.

    Example:
        >>> import tempfile
        >>> from introspect.backend import ModelRef
        >>> from introspect.decision import OrganismStyle, organism_scenarios
        >>> folder = tempfile.mkdtemp()
        >>> study = Study(ModelRef(provider="simulated", model="demo"), organism_scenarios(12), style=OrganismStyle(),
        ...               out=folder, protocol=StudyProtocol(n_reports=2))
        >>> study.plan().total("calls")
        2584
        >>> [row["name"] for row in study.run().arms][:3]
        ['untuned', 'instilled', 'report-trained']
    """

    model: ModelRef
    scenarios: Sequence[DecisionScenario]
    native: Sequence[DecisionScenario] = ()
    style: PromptStyle | None = None
    protocol: StudyProtocol = field(default_factory=StudyProtocol)
    out: Path | str = "introspect-study"
    seeds: Sequence[int] = (0,)
    metric: AccuracyMetric = field(default_factory=AccuracyMetric)
    control: str = ""
    durability: Durability = "kill"
    batch: bool = False
    budget: Budget | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, ModelRef):
            raise ConfigError(
                f"a study needs a ModelRef, got {self.model!r:.80}. Give ModelRef(provider=..., model=...), an agent's "
                f"`.ref` or a backend's `.info.ref`: a study opens its models anew, also after it was killed"
            )
        if len(self.scenarios) < self.protocol.n_folds:
            raise ConfigError(
                f"{len(self.scenarios)} contexts cannot be cut into {self.protocol.n_folds} folds of one or more. Give "
                f"at least {self.protocol.n_folds}; below 10 there is no interval"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(f"seeds must be distinct whole numbers from 0, at least one; got {list(self.seeds)}")
        if not isinstance(self.native, Sequence):
            raise ConfigError(
                f"native are contexts that nothing is instilled in, got {type(self.native).__name__}. Name what comes "
                "after the contexts: native=..., style=..., protocol=..., out=..."
            )
        both = {s.id for s in self.scenarios} & {s.id for s in self.native}
        if both:
            raise ConfigError(f"contexts cannot be instilled and native at once: {sorted(both)[:5]}")

    def __repr__(self) -> str:
        told = f"{len(self.scenarios)} contexts, {len(self.native)} native, seeds {list(self.seeds)}"
        return short_repr(self, f"{self.model}, {told}, protocol {self.protocol.name!r}, in {self.folder}")

    @property
    def folder(self) -> Path:
        """Where the study lies."""
        return Path(self.out).expanduser()

    def plan(self) -> StudyPlan:
        """Calls, tokens and gradient steps, without asking or training anything."""
        scenarios, native = ScenarioSet(self.scenarios), ScenarioSet(self.native)
        return plan_study(scenarios, native, self.protocol, self.words, len(self.seeds))

    def run(self, watcher: Watcher | None = None, wait: float = 0.0) -> StudyResult:
        """Run, or go on running, and score.

        Args:
            watcher: Who is told how it goes on.
            wait: Seconds to wait for another process that runs a study in this folder.

        Raises:
            StoreError: The folder cannot be written to, holds another study, is in use by another process, or was made
                with other weights of the same name.
            BackendError: A model could not be opened or asked.
            TrainingError: A training was refused.
        """
        folder, told = self.folder, watcher or SilentWatcher()
        with (
            FolderLock(folder, wait, on_wait=lambda sentence: told.stage(sentence, done=False)),
            Store.open(folder / "study.db", durability=self.durability) as store,
        ):
            self._claim(store)
            check_weights(store, self.model)
            stages = Stages(
                store, (folder / "models").absolute(), self.model, ScenarioSet(self.scenarios),
                ScenarioSet(self.native), self.protocol, self.words, told, self.batch, self.budget,
            )  # fmt: skip
            result = self.analyse(stages)
            store.manifest["recipe"] = recipe_of(self)  # as it is now: seeds may have been added
            write_text(folder / "result.json", result_text(result))
            return result

    def analyse(self, stages: Stages) -> StudyResult:
        """Score what these stages find or compute, seed by seed."""
        seeds = []
        for seed in self.seeds:
            data = stages.run(seed)
            stages.store.manifest[f"seed {seed}"] = _made_of(data)
            seeds.append(self._score(data))
        return StudyResult(self.model, self.control, tuple(seeds))

    def claims(self) -> tuple[Claim, ...]:
        """Which of the published findings hold, with effect, interval, and what else could explain them.

        Runs what has not been run; a finished study is only scored again.
        """
        return self.run().claims()

    @property
    def words(self) -> PromptStyle:
        """The prompt style in use."""
        if self.style is not None:
            return self.style
        from introspect.decision import ChatStyle

        return ChatStyle()

    def _score(self, data: SeedData) -> SeedResult:
        arms = arms_of(data, self.metric)
        models = {"untuned": self.model, **{name: tuned.ref for name, tuned in data.tuned.items()}}
        return SeedResult(
            data.seed, arms, rises_of(data, self.metric), drift_of(data), gates_of(data, arms), models,
            verdict_of(data), {name: tuned.trajectory for name, tuned in data.tuned.items() if tuned.trajectory},
        )  # fmt: skip

    def _claim(self, store: Store) -> None:
        """A folder holds one study; seeds may be added to it."""
        mine = {
            "model": self.model.identity(),
            "protocol": _settings(self.protocol),
            "style": self.words.id,
            "scenarios": _hash(self.scenarios),
            "native": _hash(self.native),
        }
        known = store.manifest.get("study")
        if known is None:
            store.manifest["study"] = mine
            store.manifest["introspect"] = __version__
            store.manifest["recipe"] = recipe_of(self)
        elif canonical(known) != canonical(mine):
            differs = sorted(key for key in mine if known.get(key) != mine[key])
            raise StoreError(
                f"{self.folder} holds another study (it differs in {', '.join(differs)}); give another folder, "
                "or remove this one if it is no longer needed"
            )
        now, runs = surroundings(), store.manifest.get("surroundings", [])
        if now not in runs:
            store.manifest["surroundings"] = [*runs, now]


# Settings that were there from the first. Others are only written down where they are not at their default, which is
# what was done before there was a choice: a study of then stays the study that it is.
_FIRST = frozenset({
    "name", "n_instil", "n_measure", "n_native", "n_reports", "n_examples", "measure_design", "n_folds", "instil",
    "report",
})  # fmt: skip


def _settings(protocol: StudyProtocol) -> dict[str, JsonValue]:
    plain = StudyProtocol().model_dump(mode="json")
    return {k: v for k, v in protocol.model_dump(mode="json").items() if k in _FIRST or v != plain[k]}


def _hash(scenarios: Iterable[DecisionScenario]) -> str:
    return ScenarioSet(scenarios).hash


def _made_of(data: SeedData) -> dict[str, JsonValue]:
    """Hashes of what a seed was shown, and how each of its models was trained, with the settings as they were used."""
    draw = data.draw
    return {
        "preferences": draw.preferences.hash,
        "trials": {"instil": draw.instil.hash, "measure": draw.measure.hash, "native": draw.native.hash},
        "trainings": {
            name: tuned.model_dump(mode="json", include={"data", "spec", "n_examples", "steps", "style"})
            | {"model": tuned.ref.key, "base": tuned.base.key}
            for name, tuned in data.tuned.items()
        },
    }


def result_text(result: StudyResult) -> str:
    """What ``result.json`` holds."""
    return json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
