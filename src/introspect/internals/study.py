"""One study of internals: built, trained, asked and scored, each step once, in one folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from introspect._random import stream
from introspect.backend.wire import ModelRef
from introspect.errors import ConfigError, MeasureError
from introspect.internals.arms import Answers, Asker, blank, shuffled, vector_baselines
from introspect.internals.clustered import Estimate
from introspect.internals.config import InternalsConfig
from introspect.internals.dictionary import Dictionary
from introspect.internals.explainer import Explainer
from introspect.internals.explainer_training import train_explainer
from introspect.internals.features import build_features
from introspect.internals.labels_told import labels_told
from introspect.internals.latent_labels import Judge
from introspect.internals.made_with import note_made_with
from introspect.internals.questions import QUESTIONS, Said
from introspect.internals.result import InternalsResult
from introspect.internals.row_table import Recheck, RowTable
from introspect.internals.scores import Scores, paired, score
from introspect.internals.self_tests import Check, require, self_test
from introspect.internals.simulators import Simulator, simulator_named
from introspect.internals.soft_map import SoftMap
from introspect.internals.target import Target
from introspect.store import Store

__all__ = ["InternalsStudy"]

_VERSION = 2
Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Learned:
    explainer: Explainer
    losses: list[float]
    seconds: float


class InternalsStudy:
    """Runs one task on one model. A step that is done is found again, also after a kill.

    Args:
        config: All settings.
        folder: Where everything goes: ``study.db`` (rows, vectors, maps, answers, manifest) and ``result.json``.
        target: The model, if it is already in memory; its reference must be the config's.
        progress: Told how it goes.
        judge: The features task: labels the latents that no rule explains.
        simulator: The features task: scores labels by what it makes of them, in place of the config's named one.
        dictionary: The features task: latents that are there already, for instance from SAELens.

    Raises:
        ConfigError: The task has no vector, or a simulator is not known.

    Example:
        >>> import tempfile
        >>> from introspect.internals.tiny import tiny_target
        >>> small = {"planted": {"seen": 12, "directions": 4, "test": 2}, "train": {"epochs": 2, "map": "scale+bias"}}
        >>> small |= {"baselines": ["nearest neighbour"], "retrieval": 5}
        >>> config = InternalsConfig.of({"task": "planted", **small})
        >>> result = InternalsStudy(config, tempfile.mkdtemp(), tiny_target()).eval()
        >>> sorted(result.arms)
        ['explainer', 'nearest neighbour', 'no vector', 'shuffled vector']
    """

    def __init__(
        self,
        config: InternalsConfig,
        folder: Path | str,
        target: Target | None = None,
        progress: Progress | None = None,
        judge: Judge | None = None,
        simulator: Simulator | None = None,
        dictionary: Dictionary | None = None,
    ) -> None:
        if config.task == "ablation":
            raise ConfigError("the ablation task has no vector: it is run by AblationStudy")
        named = config.simulator  # looked up before hours of work
        if config.task != "features" and any(x is not None for x in (judge, simulator, named, dictionary)):
            raise ConfigError(
                f"judge, simulator and dictionary are for labels of features; the task is {config.task!r}"
            )
        self.config, self.folder = config, Path(folder)
        self._judge, self._simulator = judge, simulator or (simulator_named(named) if named is not None else None)
        self._given, self._dictionary = target, dictionary
        self._say = progress or (lambda _: None)
        self.question = QUESTIONS[config.task]

    @cached_property
    def target(self) -> Target:
        """The model that is asked about."""
        return self._given or Target.open(self.config.model, dtype=self.config.dtype)

    @cached_property
    def source(self) -> Target:
        """The model that explains."""
        if self.config.explainer is None or self.config.explainer == self.config.model:
            return self.target
        return Target.open(self.config.explainer, dtype=self.config.dtype)

    @property
    def _other(self) -> ModelRef | None:
        """The model that explains, where it is another."""
        return None if self.source is self.target else self.source.identity

    def check(self) -> tuple[Check, ...]:
        """Self-tests of target and explainer.

        Raises:
            SelfTestError: One failed; nothing is reported.
        """
        found = () if self.source is self.target else self_test(self.target)
        mapped = SoftMap(self.source.width, kind="scale+bias")
        found += self_test(self.source, self.config.train.soft, mapped)
        require(found)
        return found

    def build(self) -> RowTable:
        """The questions and their true answers, built once."""
        with Store.open(self.folder / "study.db") as store:
            return self._build(store)

    def _build(self, store: Store) -> RowTable:
        inputs = self._inputs("build")
        note_made_with(store, self.config, self.target.identity)

        def compute() -> dict[str, Any]:
            require(self_test(self.target))
            began = time.process_time()
            table, extra = self._made()
            again = self._recheck(table, extra)
            key = f"vectors {_key(inputs)}"
            store.put_table(key, {"vectors": table.vectors if table.vectors is not None else np.zeros(0), **extra})
            return {"rows": store.put_blob(json.dumps(table.to_json()).encode()), "vectors": key,
                    "recheck": [again.n, list(again.different)], "seconds": time.process_time() - began}  # fmt: skip

        found = store.step("build", inputs, _VERSION, compute)
        columns = store.get_table(found["vectors"])
        if columns is None:
            raise MeasureError("the vectors of the rows are no longer in the study file; build in a new folder")
        self._columns, self._recheck_said = columns, found["recheck"]
        lines = json.loads(store.get_blob(found["rows"]))
        return RowTable.from_json(lines, columns["vectors"].astype(np.float32))

    def _made(self) -> tuple[RowTable, dict[str, Any]]:
        config = self.config
        if config.task == "planted":
            from introspect.internals.planted import build_planted

            return build_planted(self.target, config.planted), {}
        if config.task == "patching":
            from introspect.internals.patching import build_patching

            return build_patching(self.target, config.patching, progress=self._say), {}
        made = build_features(
            self.target, config.features, dictionary=self._dictionary, judge=self._judge, progress=self._say
        )
        words = np.array(made.held_out.words, dtype=str)
        extra = {f"dictionary {k}": v for k, v in made.dictionary.arrays().items()}
        return made.table, {**extra, "held words": words, "held vectors": made.held_out.vectors.astype(np.float16)}

    def recheck(self, table: RowTable, n: int) -> Recheck:
        """Compute some rows of `build` anew, on another path than built them."""
        return self._recheck(table, self._columns, n)

    def _recheck(self, table: RowTable, columns: Mapping[str, Any], n: int | None = None) -> Recheck:
        rows = self.config.recheck if n is None else n
        if not rows:
            return Recheck(0, ())
        found = table.recheck(lambda some: self._again(some, columns), rows, self.config.seed)
        if found.different and n is None:
            raise MeasureError(f"{found}: the rows cannot be believed")
        return found

    def _again(self, some: RowTable, columns: Mapping[str, Any]) -> RowTable:
        if self.config.task == "planted":
            from introspect.internals.planted import recompute_planted

            return recompute_planted(self.target, some)
        if self.config.task == "patching":
            from introspect.internals.patching import recompute_patching

            return recompute_patching(self.target, some)
        from introspect.internals.features import recompute_features

        return recompute_features(self.target, some, _dictionary(columns))

    def train(self) -> dict[str, list[float]]:
        """Train the explainer, and the one that never sees a vector.

        Returns:
            Mean loss of each epoch, by explainer.
        """
        with Store.open(self.folder / "study.db") as store:
            table = self._build(store)
            return {name: self._train(store, table, name).losses for name in self._trained}

    @property
    def _trained(self) -> tuple[str, ...]:
        return ("explainer", "no vector") if self.config.no_vector else ("explainer",)

    def _train(self, store: Store, table: RowTable, name: str) -> _Learned:
        assert table.vectors is not None
        seen = table if name == "explainer" else table.with_vectors(blank(table.vectors))
        spec = self.config.train
        inputs = {**self._inputs("train"), "who": name}
        fresh: list[Explainer] = []

        def compute() -> dict[str, Any]:
            require(self_test(self.source, spec.soft))
            self._say(f"training the explainer {name!r}")
            made = train_explainer(self.source, seen, self.question, spec, progress=self._say)
            fresh.append(made.explainer)
            key = f"weights {_key(inputs)}"
            store.put_table(key, made.explainer.arrays())
            return {"losses": list(made.losses), "seconds": made.seconds, "weights": key}

        found = store.step(f"train {name}", inputs, _VERSION, compute)
        if fresh:
            return _Learned(fresh[0], found["losses"], found["seconds"])
        explainer = Explainer(self.source, spec, table.vectors.shape[1])
        explainer.load(store.get_table(found["weights"]) or {})
        return _Learned(explainer, found["losses"], found["seconds"])

    def explain(self) -> dict[str, Answers]:
        """Answers of the explainer, its floors and all baselines to the test rows."""
        with Store.open(self.folder / "study.db") as store:
            return self._explain(store, self._build(store))[1]

    def _explain(self, store: Store, table: RowTable) -> tuple[RowTable, dict[str, Answers]]:
        test = self._test(table)
        asker = self._asker(table)
        found: dict[str, Answers] = {}

        def kept(name: str, make: Callable[[], Answers]) -> None:
            def compute() -> dict[str, Any]:
                self._say(f"asking: {name}")
                made = make()
                return {"said": [asdict(s) for s in made.said], "retrieved": made.retrieved, "note": made.note,
                        "among": made.among}  # fmt: skip

            one = store.step(f"explain {name}", {**self._inputs("explain"), "who": name}, _VERSION, compute)
            found[name] = Answers([Said(**s) for s in one["said"]], one["retrieved"], one["note"], one["among"])

        assert test.vectors is not None
        vectors = test.vectors
        learned: dict[str, _Learned] = {}

        def explainer(name: str) -> Explainer:
            if name not in learned:
                learned[name] = self._train(store, table, name)
            return learned[name].explainer

        kept("explainer", lambda: asker.ask(explainer("explainer"), test))
        kept("shuffled vector", lambda: asker.ask(explainer("explainer"), test, shuffled(test, self.config.seed)))
        if self.config.no_vector:
            kept("no vector", lambda: asker.ask(explainer("no vector"), test, blank(vectors)))
        for name in self.config.baselines:
            kept(name, lambda name=name: vector_baselines(  # type: ignore[misc]
                [name], self.source, table, test, asker, self.config.train)[name])  # fmt: skip
        return test, found

    def _test(self, table: RowTable) -> RowTable:
        test = table.of("test", "unseen")
        order = stream(self.config.seed, "asked").permutation(len(test))[: self.config.most_test]
        return test.take(sorted(order.tolist()))

    def _asker(self, table: RowTable) -> Asker:
        closed = self.config.task in ("planted", "features")
        return Asker(self.question, table.labels if closed else None, self.config.retrieval if closed else 0,
                     self.config.seed, 6)  # fmt: skip

    def eval(self) -> InternalsResult:
        """Everything, and the result.

        Raises:
            SelfTestError: A self-test failed; nothing is reported.
        """
        began = time.process_time()
        checks = self.check()
        with Store.open(self.folder / "study.db") as store:
            table = self._build(store)
            made = note_made_with(store, self.config, self.target.identity, self._other)
            losses = {name: self._train(store, table, name).losses for name in self._trained}
            test, answers = self._explain(store, table)
            result = replace(self._result(table, test, answers, checks, losses), made=made)
            spent = {step.name: round(step.seconds, 1) for step in store.steps()}
            for name, value in {
                "rows": table.counts(), "provenance": table.provenance, "seconds by step": spent,
                "cpu seconds of this run": round(time.process_time() - began, 1),
            }.items():  # fmt: skip
                store.manifest[name] = value
        result.save(self.folder)
        return result

    def _result(
        self,
        table: RowTable,
        test: RowTable,
        answers: dict[str, Answers],
        checks: Sequence[Check],
        losses: dict[str, Any],
    ) -> InternalsResult:
        arms: dict[str, dict[str, Scores]] = {}
        against: dict[str, dict[str, Estimate]] = {}
        main = "retrieval" if self.config.task in ("planted", "features") else "exact"
        for split in ("test", "unseen"):
            places = [i for i, row in enumerate(test.rows) if row.split == split]
            if not places:
                continue
            part = test.take(places)
            for name, answer in answers.items():
                got = None if answer.retrieved is None else [answer.retrieved[i] for i in places]
                among = None if answer.among is None else [answer.among[i] for i in places]
                said = [answer.said[i] for i in places]
                arms.setdefault(name, {})[split] = score(part, said, got, self.config.seed, among=among)
            figures = (main, "exact", "changed F1") if self.config.task == "patching" else (main, "exact")
            for name in answers:
                if name == "explainer":
                    continue
                for figure in dict.fromkeys(figures):
                    against.setdefault(f"{name}, {split}", {})[figure] = paired(
                        part, arms["explainer"][split], arms[name][split], figure, self.config.seed
                    )
        detected: dict[str, Estimate] = {}
        simulated: dict[str, Estimate] = {}
        if self.config.task == "features":
            made = _dictionary(self._columns)
            detected, simulated = labels_told(self._columns, made, test, answers, self.config.seed, self._simulator)
        return InternalsResult(
            task=self.config.task, model=str(self.target.identity), main=main, arms=arms, against=against,
            checks=tuple(checks), losses=losses, counts=table.counts(), provenance=table.provenance,
            recheck=Recheck(self._recheck_said[0], tuple(self._recheck_said[1])), extra=detected, simulated=simulated,
            notes={name: a.note for name, a in answers.items() if a.note},
            examples=_examples(test, answers), asked=self.config.retrieval if main == "retrieval" else 0,
        )  # fmt: skip

    def _inputs(self, what: str) -> dict[str, Any]:
        config = self.config.model_dump(mode="json")
        made = {
            "task": config["task"],
            "model": self.target.identity.identity(),
            "how": config[self.config.task],
            "recheck": config["recheck"],
        }
        if self._judge is not None:
            made["judge"] = getattr(self._judge, "name", None) or getattr(self._judge, "__qualname__", "a judge")
        if self._dictionary is not None:
            made["dictionary"] = hashlib.sha256(self._dictionary.decoder.tobytes()).hexdigest()
        if what in ("train", "explain"):
            other = self._other
            made |= {"train": config["train"], "explainer": None if other is None else other.identity()}
        if what == "explain":
            made |= {k: config[k] for k in ("retrieval", "most_test", "seed")}
        return made


def _dictionary(columns: Mapping[str, Any]) -> Dictionary:
    return Dictionary.of_arrays(
        {k.removeprefix("dictionary "): v for k, v in columns.items() if k.startswith("dictionary ")}
    )


def _key(inputs: dict[str, Any]) -> str:
    from introspect.store.keys import step_key

    return step_key("internals", inputs, _VERSION)[:16]


def _examples(test: RowTable, answers: dict[str, Answers], n: int = 8) -> list[dict[str, Any]]:
    picked = stream(0, "examples").permutation(len(test))[:n].tolist()
    return [
        {"row": test.rows[i].key, "truth": test.rows[i].truth, "changed": test.rows[i].changed,
         **{name: answer.said[i].content for name, answer in answers.items() if name in ("explainer", "no vector")}}
        for i in sorted(picked)
    ]  # fmt: skip
