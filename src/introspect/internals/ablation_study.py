"""The ablation task as a study: asked, trained through the model's own trainer, scored against rules."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from introspect._random import stream
from introspect.backend import Message, ModelBackend, ModelRef, Request, TrainingExample, TrainingSet, ask, open_model
from introspect.backend.models import ref_of
from introspect.errors import ConfigError, MeasureError
from introspect.internals.ablation import build_ablation, recompute_ablation
from introspect.internals.arms import Answers, rules
from introspect.internals.config import InternalsConfig
from introspect.internals.made_with import note_made_with
from introspect.internals.questions import QUESTIONS, Said
from introspect.internals.removal_tests import removal_tests, training_arrived
from introspect.internals.result import InternalsResult
from introspect.internals.row_table import Recheck, RowTable
from introspect.internals.scores import paired, score
from introspect.internals.self_tests import Check, require
from introspect.internals.word_lists import Fact
from introspect.store import Store
from introspect.training import FineTuner, StoredJobs

__all__ = ["AblationStudy"]

_VERSION = 1


class AblationStudy:
    """Runs the ablation task. Any model that can be asked and trained will do: no vector is involved.

    Args:
        config: All settings.
        folder: Where everything goes.
        model: Reference to the model, in place of the config's name.
        known: Facts in place of those of the config's relations.
        tuner: How the explainer is trained, in place of the plain one.
        progress: Told how it goes.
    """

    def __init__(
        self,
        config: InternalsConfig,
        folder: Path | str,
        model: ModelRef | None = None,
        known: Sequence[Fact] | None = None,
        tuner: FineTuner | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        if config.task != "ablation":
            raise ConfigError(f"the task is {config.task!r}; AblationStudy runs the ablation task")
        if config.simulator is not None:
            raise ConfigError("simulators are for labels of features; the task is 'ablation'")
        self.config, self.folder, self.known = config, Path(folder), known
        self._model, self._tuner = model, tuner
        self._say = progress or (lambda _: None)
        self.question = QUESTIONS["ablation"]

    @cached_property
    def ref(self) -> ModelRef:
        """The model."""
        ref = self._model or ref_of(self.config.model)
        dtype = self.config.dtype
        return ref if dtype is None else ref.model_copy(update={"settings": {**ref.settings, "dtype": dtype}})

    @cached_property
    def source(self) -> ModelRef:
        """What the explainer is trained from: the model itself, or another."""
        return self.ref if self.config.explainer is None else ref_of(self.config.explainer)

    def build(self) -> RowTable:
        """The questions and their true answers, asked once."""
        with Store.open(self.folder / "study.db") as store:
            return self._build(store)

    def _build(self, store: Store) -> RowTable:
        inputs = self._inputs()
        self._made = note_made_with(store, self.config, self.ref, None if self.source == self.ref else self.source)

        def compute() -> dict[str, Any]:
            self._say("asking with and without hints")
            began, model = time.process_time(), open_model(self.ref)
            table = build_ablation(model, self.config.ablation, self.known)
            require(removal_tests(model, table, self.config.seed))
            again = table.recheck(lambda some: recompute_ablation(model, some), self.config.recheck, self.config.seed)
            return {"rows": store.put_blob(json.dumps(table.to_json()).encode()),
                    "recheck": [again.n, list(again.different)], "seconds": time.process_time() - began}  # fmt: skip

        found = store.step("build", inputs, _VERSION, compute)
        self._recheck_said = found["recheck"]
        return RowTable.from_json(json.loads(store.get_blob(found["rows"])), None)

    def recheck(self, table: RowTable, n: int) -> Recheck:
        """Ask some rows anew, one prompt at a time."""
        model = open_model(self.ref)
        return table.recheck(lambda some: recompute_ablation(model, some), n, self.config.seed)

    def training_set(self, table: RowTable) -> TrainingSet:
        """The training rows as conversations."""
        return TrainingSet([
            TrainingExample(messages=(
                Message(role="user", content=self.question.text(row, self.config.seed)),
                Message(role="assistant", content=self.question.of(row).strip()),
            ))
            for row in table.of("train").rows
        ])  # fmt: skip

    def train(self) -> ModelRef:
        """Train the explainer, through the trainer of its model."""
        with Store.open(self.folder / "study.db") as store:
            return self._train(store, self._build(store))

    def _train(self, store: Store, table: RowTable) -> ModelRef:
        data = self.training_set(table)
        spec = self.config.tune
        inputs = {"base": self.source.identity(), "data": data.hash, "spec": spec.model_dump(mode="json")}

        def compute() -> dict[str, Any]:
            self._say(f"training on {len(data)} questions")
            began = time.process_time()
            jobs = self.folder / "models"
            tuner = self._tuner or FineTuner(spec=spec, canary=0, jobs=lambda job: StoredJobs(store, job, jobs / job))
            ref = tuner.train_answers(self.source, data)
            return {"ref": ref.model_dump(mode="json"), "seconds": time.process_time() - began}

        return ModelRef.model_validate(store.step("train", inputs, _VERSION, compute)["ref"])

    def _check(self, store: Store, table: RowTable, tuned: ModelRef) -> tuple[Check, ...]:
        """Self-tests after training: of the model, which training must have left alone, and of the explainer."""
        inputs = {**self._inputs(), "tuned": tuned.identity(), "source": self.source.identity()}

        def compute() -> list[Any]:
            self._say("self-tests")
            questions = [self.question.text(row, self.config.seed) for row in table.rows[:4]]
            found = removal_tests(open_model(self.ref), table, self.config.seed)
            found += (training_arrived(open_model(tuned), open_model(self.source), questions),)
            require(found)
            return [asdict(check) for check in found]

        return tuple(Check(**one) for one in store.step("self-tests", inputs, _VERSION, compute))

    def explain(self) -> dict[str, Answers]:
        """Answers of the explainer and of everything that it must beat."""
        with Store.open(self.folder / "study.db") as store:
            return self._explain(store, self._build(store))[1]

    def _explain(self, store: Store, table: RowTable) -> tuple[RowTable, dict[str, Answers]]:
        test = table.of("test", "unseen")
        order = stream(self.config.seed, "asked").permutation(len(test))[: self.config.most_test]
        test = test.take(sorted(order.tolist()))
        tuned = self._train(store, table)
        self._checks = self._check(store, table, tuned)
        shown = table.of("train")
        picked = [i for side in (True, False) for i, row in enumerate(shown.rows) if row.changed is side][:2]
        picked += [i for side in (False, True) for i, row in enumerate(shown.rows) if row.changed is side][:2]
        found: dict[str, Answers] = {}
        for name, ref, solved in (
            ("explainer", tuned, ()),
            ("zero-shot", self.source, ()),
            ("few-shot", self.source, tuple(dict.fromkeys(picked))),
        ):
            inputs = {
                **self._inputs(),
                "who": ref.identity(),
                "test": [r.key for r in test.rows],
                "shown": list(solved),
                "wordings": list(self.question.wordings),
            }

            def compute(name: str = name, ref: ModelRef = ref, solved: tuple[int, ...] = solved) -> list[Any]:
                self._say(f"asking: {name}")
                return [asdict(said) for said in self._ask(open_model(ref), test, shown.take(solved))]

            found[name] = Answers([Said(**s) for s in store.step(f"explain {name}", inputs, _VERSION, compute)])
        return test, {**found, **rules(test, shown)}

    def _ask(self, model: ModelBackend, test: RowTable, shown: RowTable) -> list[Said]:
        head: tuple[Message, ...] = ()
        for row in shown.rows:
            head += (Message(role="user", content=self.question.text(row, self.config.seed)),
                     Message(role="assistant", content=self.question.of(row).strip()))  # fmt: skip
        asked = [
            Request(
                messages=(*head, Message(role="user", content=self.question.text(row, self.config.seed))), max_tokens=8
            )
            for row in test.rows
        ]
        answers = sorted({str(a) for row in test.rows for a in row.more["answers"]})
        return [self.question.read(reply.text, answers) for reply in ask(model, asked)]

    def eval(self) -> InternalsResult:
        """Everything, and the result.

        Raises:
            SelfTestError: A self-test failed; nothing is reported.
            MeasureError: Rows came out otherwise when they were asked anew.
        """
        with Store.open(self.folder / "study.db") as store:
            table = self._build(store)
            test, answers = self._explain(store, table)
            again = Recheck(self._recheck_said[0], tuple(self._recheck_said[1]))
            if len(again.different) > max(1, again.n // 5):
                raise MeasureError(f"{again}: the model does not answer the same question alike")
            result = self._result(table, test, answers, again)
            for name, value in {
                "rows": table.counts(), "provenance": table.provenance,
                "seconds by step": {step.name: round(step.seconds, 1) for step in store.steps()},
            }.items():  # fmt: skip
                store.manifest[name] = value
        result.save(self.folder)
        return result

    def _result(self, table: RowTable, test: RowTable, answers: dict[str, Answers], again: Recheck) -> InternalsResult:
        arms: dict[str, Any] = {}
        against: dict[str, Any] = {}
        for split in ("test", "unseen"):
            places = [i for i, row in enumerate(test.rows) if row.split == split]
            if not places:
                continue
            part = test.take(places)
            for name, answer in answers.items():
                arms.setdefault(name, {})[split] = score(part, [answer.said[i] for i in places], None, self.config.seed)
            for name in answers:
                if name != "explainer":
                    against[f"{name}, {split}"] = {
                        figure: paired(part, arms["explainer"][split], arms[name][split], figure, self.config.seed)
                        for figure in ("exact", "changed F1", "content")
                    }
        return InternalsResult(
            task="ablation", model=str(self.ref), main="exact", arms=arms, against=against, checks=self._checks,
            losses={}, counts=table.counts(), provenance=table.provenance, recheck=again, made=self._made,
        )  # fmt: skip

    def _inputs(self) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        known = None if self.known is None else [[f.subject, f.relation.name, f.answer] for f in self.known]
        how = {name: value for name, value in config["ablation"].items() if value is not None}
        return {"model": self.ref.identity(), "how": how, "recheck": config["recheck"], "facts": known}
