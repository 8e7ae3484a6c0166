"""One seed of a study, stage by stage; each stage is computed once and then found in the store."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from introspect._random import stream
from introspect.backend.protocol import ModelBackend
from introspect.backend.registry import open_model
from introspect.backend.training import TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.decision import (
    DecisionScenario,
    PreferenceSampler,
    PreferenceSet,
    PromptStyle,
    ScenarioSet,
    TrialGenerator,
    TrialSet,
)
from introspect.errors import StoreError
from introspect.measure import (
    ChoiceModel,
    ChoiceProbe,
    ChoiceTable,
    LearnedWeights,
    ReportTable,
    SelfReportProbe,
)
from introspect.store import Store
from introspect.study.protocol import StudyProtocol
from introspect.study.trajectory import TrajectoryWatch
from introspect.training import FineTuned, FineTuner, TrainingWarning
from introspect.training.jobs import StoredJobs
from introspect.training.replies import StoredReplies

if TYPE_CHECKING:
    from introspect.backend import Budget

__all__ = ["Draw", "SeedData", "Stages", "Watcher"]

# Raised by hand when a stage's meaning changes, so that older results are computed anew instead of believed.
VERSION = 1


class _Table(Protocol):
    def to_jsonl(self, path: Path | str) -> None: ...


T = TypeVar("T", TrialSet, ChoiceTable, ReportTable)


class Watcher(Protocol):
    """Who is told how a study goes on."""

    def stage(self, name: str, done: bool) -> None:
        """A stage begins (or, with done, was found finished in the store)."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Part of the current stage is done."""


@dataclass(frozen=True)
class Draw:
    """What is drawn before any model is touched.

    Attributes:
        preferences: The hidden target of each context.
        instil: Labelled trials to train on.
        measure: Fresh labelled trials, shown to every model alike.
        native: Fresh unlabelled trials of the native contexts.
        folds: (trained on, held out) contexts of each report training.
    """

    preferences: PreferenceSet
    instil: TrialSet
    measure: TrialSet
    native: TrialSet
    folds: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


@dataclass(frozen=True)
class SeedData:
    """Everything one seed produced. Models are named "untuned", "instilled", "fold1", "fold2", ..., "all".

    Attributes:
        seed: The seed.
        draw: What was drawn.
        tuned: Trainings by the name of the model that they made.
        choices: Choices on the study's contexts, by model.
        reports: Reports on the study's contexts, by model.
        native_choices: Choices on the native contexts, by model.
        native_reports: Reports on the native contexts, by model.
        weights: Weights fitted to `choices`, by model.
        native_weights: Weights fitted to `native_choices`, by model.
    """

    seed: int
    draw: Draw
    tuned: dict[str, FineTuned]
    choices: dict[str, ChoiceTable]
    reports: dict[str, ReportTable]
    native_choices: dict[str, ChoiceTable]
    native_reports: dict[str, ReportTable]
    weights: dict[str, LearnedWeights] = field(default_factory=dict)
    native_weights: dict[str, LearnedWeights] = field(default_factory=dict)


@dataclass(frozen=True)
class Stages:
    """Runs the stages of one seed against a store.

    Attributes:
        store: Where results are kept and found.
        folder: Where weights of trained models lie.
        model: The untuned model.
        scenarios: Contexts whose preferences are instilled.
        native: Contexts that nothing is instilled in.
        protocol: How much of everything.
        style: Words prompts and reads answers.
        watcher: Who is told.
        batch: Whether models are asked through their service's Batch API.
        budget: What asking them may cost.
    """

    store: Store
    folder: Path
    model: ModelRef
    scenarios: ScenarioSet
    native: ScenarioSet
    protocol: StudyProtocol
    style: PromptStyle
    watcher: Watcher
    batch: bool = False
    budget: Budget | None = None

    def run(self, seed: int) -> SeedData:
        """All stages of a seed, in order. What an earlier run finished is not repeated.

        Raises:
            TrainingError: A training was refused or changed nothing.
            BackendError: A model could not be opened or asked.
            StoreError: The study file cannot be written or believed.
        """
        p = self.protocol
        draw = self._draw(seed)
        untuned = self.model
        tuned: dict[str, FineTuned] = {}
        choices = {"untuned": self._choices(seed, "untuned", untuned, draw.measure)}
        reports = {"untuned": self._reports(seed, "untuned", untuned, self.scenarios)}
        native_reports, native_choices = {}, {}
        if self.native:
            native_reports["untuned"] = self._reports(seed, "untuned", untuned, self.native, "native ")

        tuned["instilled"] = self._train(
            seed, "instilled", untuned, p.instil,
            lambda tuner, base: tuner.instil(base, draw.instil, draw.preferences), draw.instil.hash,
            self._watch(p.instil.steps(len(draw.instil)), draw.measure, draw.preferences),
        )  # fmt: skip
        instilled = tuned["instilled"].ref
        choices["instilled"] = self._choices(seed, "instilled", instilled, draw.measure)
        reports["instilled"] = self._reports(seed, "instilled", instilled, self.scenarios)
        if self.native:
            native_choices["instilled"] = self._choices(seed, "instilled", instilled, draw.native, "native ")
            native_reports["instilled"] = self._reports(seed, "instilled", instilled, self.native, "native ")

        halves = [(f"fold{k}", train) for k, (train, _) in enumerate(draw.folds, 1)]
        if self.native:
            halves.append(("all", tuple(self.scenarios.ids)))
        for name, ids in halves:
            tuned[name] = self._train_reports(seed, name, instilled, ids, draw)
            if name != "all":
                reports[name] = self._reports(seed, name, tuned[name].ref, self.scenarios)
                choices[name] = self._choices(seed, name, tuned[name].ref, draw.measure)
            else:
                native_reports[name] = self._reports(seed, name, tuned[name].ref, self.native, "native ")
                native_choices[name] = self._choices(seed, name, tuned[name].ref, draw.native, "native ")
        fit = ChoiceModel().fit
        return SeedData(
            seed, draw, tuned, choices, reports, native_choices, native_reports,
            {name: fit(table) for name, table in choices.items()},
            {name: fit(table) for name, table in native_choices.items()},
        )  # fmt: skip

    def _draw(self, seed: int) -> Draw:
        p = self.protocol

        def compute() -> dict[str, Any]:
            hidden = PreferenceSampler().sample(self.scenarios, stream(seed, "preferences"))
            generator, measure = TrialGenerator(), TrialGenerator(design=p.measure_design)
            instil = generator.trials(self.scenarios, p.n_instil, stream(seed, "instil"))
            # Measuring pairs must be fresh: a pair that was trained on would show memory, not weights.
            more = measure.trials(self.scenarios, p.n_instil + p.n_measure, stream(seed, "measure"))
            extra = _unseen(more, instil, p.n_measure)
            native = measure.trials(self.native, p.n_native, stream(seed, "native")) if self.native else TrialSet()
            folds = self.scenarios.folds(p.n_folds, stream(seed, "folds"))
            return {
                "preferences": hidden.to_json(),
                "instil": self._keep(generator.label(instil, hidden, rng=stream(seed, "labels", "instil"))),
                "measure": self._keep(generator.label(extra, hidden, rng=stream(seed, "labels", "measure"))),
                "native": self._keep(native),
                "folds": [[list(train.ids), list(test.ids)] for train, test in folds],
            }

        sizes: list[object] = [p.n_instil, p.n_measure, p.n_native, p.n_folds]
        if p.measure_design != "random":  # a draw of before there were designs stays where it is found
            sizes.append(p.measure_design)
        found = self._step(seed, "draw", [self.scenarios.hash, self.native.hash, sizes], compute)
        return Draw(
            PreferenceSet.from_json(found["preferences"]),
            self._recall(TrialSet, found["instil"]),
            self._recall(TrialSet, found["measure"]),
            self._recall(TrialSet, found["native"]),
            tuple((tuple(train), tuple(test)) for train, test in found["folds"]),
        )

    def _choices(self, seed: int, name: str, ref: ModelRef, trials: TrialSet, where: str = "") -> ChoiceTable:
        probe = ChoiceProbe(self.style)

        def compute() -> str:
            return self._keep(self._ask(ref, lambda model, on: probe.run(model, trials, on), len(trials)))

        key = self._step(seed, f"{name}: {where}choices", [ref.key, probe.id, trials.hash], compute)
        return self._recall(ChoiceTable, key)

    def _reports(
        self, seed: int, name: str, ref: ModelRef, scenarios: Sequence[DecisionScenario], where: str = ""
    ) -> ReportTable:
        probe = SelfReportProbe(self.style, k=self.protocol.n_reports)
        which = ScenarioSet(scenarios)
        # The same options for every model, so that before and after differ in the model alone.
        rng = int(stream(seed, "report options").integers(2**31))

        def compute() -> str:
            n_prompts = len(which) * probe.k
            return self._keep(self._ask(ref, lambda model, on: probe.run(model, which, rng, on), n_prompts))

        key = self._step(seed, f"{name}: {where}reports", [ref.key, probe.id, which.hash, rng], compute)
        return self._recall(ReportTable, key)

    def _ask(self, ref: ModelRef, ask: Callable[[ModelBackend, Callable[[int, object], None]], Any], total: int) -> Any:
        from introspect.backend.portal import run_sync

        model = self._open(ref)
        count = iter(range(1, 10**9))
        try:
            return ask(model, lambda _index, _reply: self.watcher.progress(next(count), total, "replies"))
        finally:
            run_sync(model.aclose)

    def _open(self, ref: ModelRef) -> ModelBackend:
        jobs = StoredJobs(self.store, f"batches {ref.key}", self.folder / "batches") if self.batch else None
        return open_model(ref, StoredReplies(self.store), budget=self.budget, batches=jobs)

    def _train(
        self,
        seed: int,
        name: str,
        base: ModelRef,
        spec: TrainingSpec,
        train: Callable[[FineTuner, ModelRef], FineTuned],
        data: object,
        watch: TrajectoryWatch | None = None,
    ) -> FineTuned:
        # Each seed trains in its own order of examples.
        seeded = spec.model_copy(update={"seed": int(stream(seed, "training", name).integers(2**31))})

        def compute() -> Any:
            tuner = FineTuner(
                spec=seeded,
                style=self.style,
                jobs=lambda job: StoredJobs(
                    self.store,
                    job,
                    self.folder / job,
                    lambda done, total, _loss: self.watcher.progress(done, total, "steps"),
                ),
                on_canary="warn",
                cache=StoredReplies(self.store),
                open=lambda ref, cache: open_model(ref, cache, budget=self.budget),
                watch=watch,
            )
            with warnings.catch_warnings():
                # They are kept in the result and printed with it, once.
                warnings.simplefilter("ignore", TrainingWarning)
                return train(tuner, base).model_dump(mode="json")

        inputs = [base.key, self.style.id, seeded.model_dump(mode="json"), data]
        return FineTuned.model_validate(self._step(seed, f"train {name}", inputs, compute))

    def _train_reports(self, seed: int, name: str, base: ModelRef, ids: Sequence[str], draw: Draw) -> FineTuned:
        contexts = [self.scenarios.by_id(i) for i in ids]
        rng = int(stream(seed, "report training", name).integers(2**31))
        n = self.protocol.n_examples
        return self._train(
            seed, name, base, self.protocol.report,
            lambda tuner, base: tuner.train_reports(base, contexts, draw.preferences, n_per_scenario=n, rng=rng),
            [draw.preferences.hash, list(ids), n, rng],
            self._watch(self.protocol.report.steps(n * len(contexts)), draw.measure, draw.preferences),
        )  # fmt: skip

    def _watch(self, steps: int, trials: TrialSet, preferences: PreferenceSet) -> TrajectoryWatch | None:
        if not self.protocol.looks:
            return None
        every = -(-steps // self.protocol.looks)
        return TrajectoryWatch(every, trials, tuple(self.scenarios), self.style, preferences)

    def _step(self, seed: int, name: str, inputs: object, compute: Callable[[], Any]) -> Any:
        began = False

        def begin() -> Any:
            nonlocal began
            began = True
            self.watcher.stage(f"seed {seed}: {name}", done=False)
            return compute()

        result = self.store.step(f"seed {seed}: {name}", [seed, inputs], VERSION, begin)
        if not began:
            self.watcher.stage(f"seed {seed}: {name}", done=True)
        return result

    def _keep(self, table: _Table) -> str:
        with tempfile.TemporaryDirectory(prefix="introspect-") as folder:
            path = Path(folder) / "table.jsonl"
            table.to_jsonl(path)
            return self.store.put_blob(path.read_bytes())

    def _recall(self, kind: type[T], digest: str) -> T:
        with tempfile.TemporaryDirectory(prefix="introspect-") as folder:
            path = Path(folder) / "table.jsonl"
            path.write_bytes(self.store.get_blob(digest))
            try:
                return kind.from_jsonl(path)
            except ValueError as error:
                raise StoreError(f"a table of {self.store.path} cannot be read back: {error}") from error


def _unseen(trials: TrialSet, seen: TrialSet, n: int) -> TrialSet:
    """The first n trials of each scenario whose options, in whatever order, are not among those seen."""
    known = set(_shown(seen))
    left = dict.fromkeys((s.id for s in trials.scenarios), n)
    keep = []
    for pair in _shown(trials):
        fresh = pair not in known and left[pair[0]] > 0
        left[pair[0]] -= fresh
        keep.append(fresh)
    return trials.take(np.array(keep))


def _shown(trials: TrialSet) -> Iterator[tuple[str, frozenset[tuple[float, ...]]]]:
    """Scenario and set of options of each trial."""
    for block in trials.blocks:
        for index, options in zip(block.scenario_index, block.values.tolist(), strict=True):
            yield block.scenarios[index].id, frozenset(map(tuple, options))
