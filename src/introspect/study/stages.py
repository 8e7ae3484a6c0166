"""One seed of a study, stage by stage; each stage is computed once and then found in the store."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from introspect._random import stream
from introspect.backend.protocol import ModelBackend
from introspect.backend.registry import open_model
from introspect.backend.training import TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.decision import (
    DecisionScenario,
    PreferenceSet,
    PromptStyle,
    RuleSet,
    ScenarioSet,
    TrialGenerator,
    TrialSet,
)
from introspect.errors import StoreError
from introspect.measure import ChoiceModel, ChoiceProbe, ChoiceTable, ReportTable, SelfReportProbe
from introspect.store import Store
from introspect.study.drawing import content_hash
from introspect.study.graph import Journal, Node, run_nodes
from introspect.study.protocol import StudyProtocol
from introspect.study.seed_data import Draw, SeedData
from introspect.study.seed_draw import drawn_of, sizes_of
from introspect.study.trajectory import TrajectoryWatch
from introspect.study.watch import Watcher
from introspect.training import FineTuned, FineTuner, TrainingWarning
from introspect.training.jobs import StoredJobs
from introspect.training.replies import StoredReplies

if TYPE_CHECKING:
    from introspect.backend import Budget

__all__ = ["Draw", "SeedData", "Stages"]

# Raised by hand when a stage's meaning changes, so that older results are computed anew instead of believed.
VERSION = 1


class _Table(Protocol):
    def to_jsonl(self, path: Path | str) -> None: ...


T = TypeVar("T", TrialSet, ChoiceTable, ReportTable)


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

    @cached_property
    def journal(self) -> Journal:
        """Which steps were computed, and why."""
        return Journal(self.store)

    def run(self, seed: int) -> SeedData:
        """All stages of a seed, in order. What an earlier run finished is not repeated.

        Raises:
            TrainingError: A training was refused or changed nothing.
            BackendError: A model could not be opened or asked.
            StoreError: The study file cannot be written or believed.
        """
        got: dict[str, Any] = {}
        run_nodes(self.nodes(seed), got, self.journal, f"seed {seed}: ", tolerant=False)
        return self.data(seed, got)

    def nodes(self, seed: int) -> list[Node]:
        """The steps of a seed as a graph, in an order in which they can be run."""
        p, model = self.protocol, self.model
        nodes = [Node("draw", (), lambda _: self._draw(seed))]

        def ask(name: str, ref: Callable[[Mapping[str, Any]], ModelRef], needs: tuple[str, ...], *kinds: str) -> None:
            """What a model named so is asked; `kinds` of "choices", "reports" and their native twins."""

            def step(kind: str) -> Callable[[Mapping[str, Any]], Any]:
                where = "native " if kind.startswith("native") else ""
                if kind.endswith("choices"):
                    return lambda got: self.choices(
                        seed, name, ref(got), got["draw"].native if where else got["draw"].measure, where
                    )
                return lambda got: self.reports(seed, name, ref(got), self.native if where else self.scenarios, where)

            nodes.extend(
                Node(f"{name}: {kind}", (*needs, "draw") if kind.endswith("choices") else needs, step(kind))
                for kind in kinds
                if self.native or not kind.startswith("native")
            )

        ask("untuned", lambda _: model, (), "choices", "reports", "native reports")
        nodes.append(Node("train instilled", ("draw",), lambda got: self._instil(seed, got["draw"])))

        def tuned(name: str) -> Callable[[Mapping[str, Any]], ModelRef]:
            return lambda got: got[f"train {name}"].ref

        if p.n_validation:
            nodes.append(
                Node(
                    "instilled: validation choices", ("train instilled", "draw"),
                    lambda got: self.choices(
                        seed, "instilled", got["train instilled"].ref, got["draw"].validation, "validation "
                    ),
                )
            )  # fmt: skip
        after = ("train instilled",)
        ask("instilled", tuned("instilled"), after, "choices", "reports", "native choices", "native reports")
        taught = ("draw", "train instilled", *(["instilled: choices"] if p.targets == "learned" else []))
        n_folds = p.n_folds if p.folds is None else len(p.folds)
        for k in range(n_folds):
            name = f"fold{k + 1}"
            nodes.append(Node(f"train {name}", taught, partial(self._train_fold, seed, name, k)))
            ask(name, tuned(name), (f"train {name}",), "reports", *(["choices"] if p.remeasure else []))
        if self.native and p.train_all:
            nodes.append(Node("train all", taught, partial(self._train_fold, seed, "all", None)))
            more = ["native choices"] if p.remeasure else []
            ask("all", tuned("all"), ("train all",), "native reports", *more)
        return nodes

    def data(self, seed: int, got: Mapping[str, Any]) -> SeedData:
        """What the steps gave, with weights fitted to all choices."""

        def of(kind: str) -> dict[str, Any]:
            return {name.removesuffix(kind): got[name] for name in got if name.endswith(kind)}

        tuned = {name.removeprefix("train "): got[name] for name in got if name.startswith("train ")}
        choices = {k: v for k, v in of(": choices").items() if ": " not in k}
        native_choices = of(": native choices")
        fit = self.estimator.fit
        return SeedData(
            seed, got["draw"], tuned, choices, of(": reports"), native_choices, of(": native reports"),
            {name: fit(table) for name, table in choices.items()},
            {name: fit(table) for name, table in native_choices.items()},
            self.estimator,
        )  # fmt: skip

    @property
    def estimator(self) -> ChoiceModel:
        """What weights are fitted with."""
        kind = self.protocol.estimator
        if kind == "unit-normal":
            return ChoiceModel(estimator="ridge", tau=1.0, graded="off")
        return ChoiceModel() if kind == "eb" else ChoiceModel(estimator=kind)

    def _instil(self, seed: int, draw: Draw) -> FineTuned:
        return self.train(
            seed, "instilled", self.model, self.protocol.instil,
            lambda tuner, base: tuner.instil(base, draw.instil, draw.taught), draw.instil.hash,
            watch=self._watch(self.protocol.instil.steps(len(draw.instil)), draw),
        )  # fmt: skip

    def _train_fold(self, seed: int, name: str, k: int | None, got: Mapping[str, Any]) -> FineTuned:
        draw: Draw = got["draw"]
        ids: Sequence[str] = tuple(self.scenarios.ids) if k is None else draw.folds[k][0]
        base = got["train instilled"].ref
        if self.protocol.targets == "target":
            watch = self._watch(self.protocol.report.steps(self.protocol.n_examples * len(ids)), draw)
            return self.train_reports(seed, name, base, ids, draw.preferences, watch=watch)
        weights = self.estimator.fit(got["instilled: choices"])
        dead = weights.unusable()
        shown = [i for i in ids if i in weights and i not in dead]
        return self.train_reports(seed, name, base, shown, {i: weights.weights(i) for i in shown})

    @property
    def generator(self) -> TrialGenerator:
        """Draws trials as they are instilled from."""
        return TrialGenerator(counterbalance=self.protocol.counterbalance, n_options=self.protocol.n_options)

    def _draw(self, seed: int) -> Draw:
        p = self.protocol

        def compute() -> dict[str, Any]:
            return drawn_of(p, self.scenarios, self.native, self.generator, seed, self._keep)

        labels = ("another set of contexts", "another set of native contexts", "sizes")
        found = self.step(seed, "draw", [self.scenarios.hash, self.native.hash, sizes_of(p)], compute, labels)
        folds = found["folds"] if p.folds is None else p.folds
        return Draw(
            PreferenceSet.from_json(found["preferences"]),
            self._recall(TrialSet, found["instil"]),
            self._recall(TrialSet, found["measure"]),
            self._recall(TrialSet, found["native"]),
            tuple((tuple(train), tuple(test)) for train, test in folds),
            self._recall(TrialSet, found["validation"]) if p.n_validation else TrialSet(),
            RuleSet.from_json(found["rules"]) if "rules" in found else None,
        )

    def choices(
        self, seed: int, name: str, ref: ModelRef, trials: TrialSet, where: str = "", style: PromptStyle | None = None
    ) -> ChoiceTable:
        """A model's choices in some trials, asked for in the study's own words or others."""
        p = self.protocol
        probe = ChoiceProbe(style or self.style, p.choice_temperature, graded=p.read_choices == "logprobs")

        def compute() -> str:
            return self._keep(self._ask(ref, lambda model, on: probe.run(model, trials, on), len(trials)))

        inputs = [ref.key, probe.id, trials.hash, *([] if probe.graded else ["text"])]
        labels = ("another model", "how choices are asked for", "another set of trials")
        return self._recall(ChoiceTable, self.step(seed, f"{name}: {where}choices", inputs, compute, labels))

    def reports(
        self,
        seed: int,
        name: str,
        ref: ModelRef,
        scenarios: Sequence[DecisionScenario],
        where: str = "",
        probe: SelfReportProbe | None = None,
    ) -> ReportTable:
        """A model's reports on some contexts, asked for as the protocol says or by a probe of one's own."""
        asking = probe or self.report_probe
        which = ScenarioSet(scenarios)
        # The same options for every model, so that before and after differ in the model alone.
        rng = int(stream(seed, "report options").integers(2**31))

        def compute() -> str:
            n_prompts = len(which) * asking.k
            return self._keep(self._ask(ref, lambda model, on: asking.run(model, which, rng, on), n_prompts))

        labels = ("another model", "how reports are asked for", "another set of contexts", "other options")
        inputs = [ref.key, asking.id, which.hash, rng]
        return self._recall(ReportTable, self.step(seed, f"{name}: {where}reports", inputs, compute, labels))

    @property
    def report_probe(self) -> SelfReportProbe:
        """How reports are asked for. Choices and training keep the study's own style, whatever is changed here."""
        p = self.protocol
        changes: dict[str, str] = {}
        if p.report_format is not None and p.report_format != getattr(self.style, "report_format", None):
            changes["report_format"] = p.report_format
        if p.report_options == "none":
            changes["report_options"] = "none"
        style = replace(self.style, **changes) if changes else self.style  # type: ignore[type-var]
        return SelfReportProbe(
            style, k=p.n_reports, options=p.report_options, temperature=p.report_temperature, n_options=p.n_options
        )

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

    def train(
        self,
        seed: int,
        name: str,
        base: ModelRef,
        spec: TrainingSpec,
        train: Callable[[FineTuner, ModelRef], FineTuned],
        data: object,
        order: str = "",
        watch: TrajectoryWatch | None = None,
        style: PromptStyle | None = None,
    ) -> FineTuned:
        """A training, in an order of examples of its own (that of the training named `order`, where one is)."""
        words = style or self.style
        # Each seed trains in its own order of examples.
        seeded = spec.model_copy(update={"seed": int(stream(seed, "training", order or name).integers(2**31))})

        def compute() -> Any:
            tuner = FineTuner(
                spec=seeded,
                style=words,
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

        inputs = [base.key, words.id, seeded.model_dump(mode="json"), data]
        labels = ("another base model", "words", "settings", "another training set")
        return FineTuned.model_validate(self.step(seed, f"train {name}", inputs, compute, labels))

    def _watch(self, steps: int, draw: Draw) -> TrajectoryWatch | None:
        if not self.protocol.looks:
            return None
        every = -(-steps // self.protocol.looks)
        return TrajectoryWatch(every, draw.measure, tuple(self.scenarios), self.style, draw.preferences)

    def train_reports(
        self,
        seed: int,
        name: str,
        base: ModelRef,
        ids: Sequence[str],
        targets: PreferenceSet | Mapping[str, Mapping[str, float]],
        order: str = "",
        n: int | None = None,
        spec: TrainingSpec | None = None,
        watch: TrajectoryWatch | None = None,
        style: PromptStyle | None = None,
    ) -> FineTuned:
        """A report training on some contexts, with the options and the order of the training named `order`."""
        contexts = [self.scenarios.by_id(i) for i in ids]
        rng = int(stream(seed, "report training", order or name).integers(2**31))
        number = n or self.protocol.n_examples
        taught = targets.hash if isinstance(targets, PreferenceSet) else content_hash(targets)
        return self.train(
            seed, name, base, spec or self.protocol.report,
            lambda tuner, base: tuner.train_reports(
                base, contexts, targets, n_per_scenario=number, rng=rng,
                generator=TrialGenerator(n_options=self.protocol.n_options),
            ),
            [taught, list(ids), number, rng, *([self.protocol.n_options] if self.protocol.n_options > 2 else [])],
            order, watch, style,
        )  # fmt: skip

    def step(self, seed: int, name: str, inputs: object, compute: Callable[[], Any], labels: Sequence[str] = ()) -> Any:
        """What `compute` gives (plain JSON), computed once for these inputs and then found."""
        began = False

        def begin() -> Any:
            nonlocal began
            began = True
            self.journal.begin(f"seed {seed}: {name}", [seed, inputs], labels)
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
