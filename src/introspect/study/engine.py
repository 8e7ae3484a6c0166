"""Runs protocols: each step once, whatever study needs it, and says what was done anew and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from introspect._notebook import html_lines, short_repr
from introspect.backend.registry import trainer_for
from introspect.backend.wire import ModelRef
from introspect.decision import ScenarioSet
from introspect.errors import BackendError, ConfigError, IntrospectError, ScenarioError, StoreError
from introspect.store import Durability, FolderLock, Store
from introspect.study.arms import arms_of, drift_of, rises_of
from introspect.study.claims import Claim, claims_of
from introspect.study.controls import ControlContext, ControlResult, control
from introspect.study.entries import entry_changes, entry_of, place_of
from introspect.study.gates import gates_of, verdict_of
from introspect.study.graph import Outcome, run_nodes
from introspect.study.protocols import Departure, Protocol, backend_ref, departures, study_of_protocol
from introspect.study.recipe import recipe_of
from introspect.study.result import SeedResult, StudyResult
from introspect.study.stages import Stages
from introspect.study.study import Study, result_text, write_text
from introspect.study.surroundings import surroundings
from introspect.study.watch import SilentWatcher, Watcher
from introspect.study.weights_seen import check_weights

if TYPE_CHECKING:
    import pandas as pd

    from introspect.backend import Budget

__all__ = ["ProtocolRun", "RunResult"]


@dataclass(frozen=True)
class RunResult:
    """What a protocol gave.

    Attributes:
        study: Arms, rises and gates.
        controls: One result for every control that the protocol names.
        steps: What became of each step, by name.
        changes: What is different in the protocol since it was last run in this folder.
        departures: Where the protocol departs from the published study.
        folder: Where the results lie.
    """

    study: StudyResult
    controls: tuple[ControlResult, ...]
    steps: Mapping[str, Outcome]
    changes: tuple[str, ...]
    departures: tuple[Departure, ...]
    folder: Path

    def __repr__(self) -> str:
        done = f"{self.count('computed')} computed, {self.count('found')} found, {self.count('failed')} failed"
        return short_repr(self, f"{len(self.steps)} steps: {done}; {self.study!r}")

    def _repr_html_(self) -> str:
        told = [line for found in self.controls for line in found.sentences()]
        return self.study._repr_html_() + html_lines("Controls and claims", [*told, *map(str, self.claims())])

    def to_frame(self) -> pd.DataFrame:
        """The arms of the study."""
        return self.study.to_frame()

    def claims(self) -> tuple[Claim, ...]:
        """Which of the published findings hold here, and what else could explain them."""
        return claims_of(self.study, {c.word: c.verdict for c in self.controls if c.state == "done"})

    def count(self, state: str) -> int:
        """Steps that were "computed", "found", "failed" or "blocked"."""
        return sum(outcome.state == state for outcome in self.steps.values())

    def sentences(self) -> list[str]:
        """The run in words: what was done anew and why, the study, the controls, the claims."""
        lines = [f"Changed since the last run: {change}." for change in self.changes]
        done = self.count("computed")
        lines.append(f"{len(self.steps)} steps: {done} computed, {self.count('found')} found finished.")
        if self.changes or self.count("found"):
            lines += [f"  {o.name}: {o.why}." for o in self.steps.values() if o.state == "computed"]
        lines += [f"{o.name}: {o.state}: {o.why}." for o in self.steps.values() if o.state in ("failed", "blocked")]
        lines += self.study.sentences() if self.study.seeds else ["No seed could be scored."]
        for found in self.controls:
            lines += found.sentences()
        lines += [str(claim) for claim in self.claims()] if self.study.seeds else []
        return lines

    def to_dict(self) -> dict[str, JsonValue]:
        """Everything, as plain JSON."""
        return {
            "study": self.study.to_dict() if self.study.seeds else None,
            "controls": [c.to_dict() for c in self.controls],
            "claims": [c.to_dict() for c in self.claims()] if self.study.seeds else [],
            "steps": [{"name": o.name, "state": o.state, "why": o.why} for o in self.steps.values()],
            "changes": list(self.changes),
            "departures": [str(d) for d in self.departures],
            "folder": str(self.folder),
        }


@dataclass(frozen=True)
class ProtocolRun:
    """A protocol, a model and a folder.

    The folder may hold several protocols and models: what they have in common is asked and trained once. Results lie
    in a folder named after the protocol, those of a second model under the same protocol in one that names the model
    too. Run an edited protocol again, and only what the edit changes is done anew.

    Args:
        protocol: What to do.
        model: The untuned model.
        out: The folder.
        durability: As in `Study`.
        budget: As in `Study`.

    Raises:
        ConfigError: The protocol cannot be run on this model; it names where in the file, and what to do.

    Example:
        >>> import tempfile
        >>> from introspect.study.protocols import backend_ref
        >>> small = Protocol.from_yaml(
        ...     "protocol: 1\\nname: small\\ncontexts: {instilled: 12, native: 0}\\n"
        ...     "report: {ask: {reports: 2}}\\ncontrols: [untuned]\\nscore: {n_boot: 50, n_null: 49}\\n"
        ... )
        >>> folder = tempfile.mkdtemp()
        >>> first = ProtocolRun(small, backend_ref("simulated"), folder).run()
        >>> again = ProtocolRun(small.changed(report__ask__reports=3), backend_ref("simulated"), folder).run()
        >>> again.changes, again.count("computed")
        (('report.ask.reports: 2 -> 3',), 4)
    """

    protocol: Protocol
    model: ModelRef
    out: Path | str
    durability: Durability = "kill"
    budget: Budget | None = None

    def __post_init__(self) -> None:
        self.check()

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return Path(self.out).expanduser()

    def check(self) -> Study:
        """The study of this protocol, if it and all its controls can be run.

        Raises:
            ConfigError: It cannot; before anything is asked.
        """
        p = self.protocol
        try:
            study = study_of_protocol(p, self.model, self.out)
        except ConfigError as error:
            key = str(error).partition(":")[0].split(".")
            raise ConfigError(f"{p.where(*key)}: {error}") from None
        except ScenarioError as error:
            where = p.where("contexts", "file")
            raise ConfigError(f"{where}: contexts: {error}; correct the file, or its name") from None
        try:
            trainer_for(self.model)
        except BackendError as error:
            raise ConfigError(
                f"{p.where('instil')}: instil: nothing can be instilled in {self.model}: {error}; name a backend that "
                "trains, or analyse answers that you have with `introspect analyse`"
            ) from None
        for number, chosen in enumerate(p.controls):
            options = control(chosen.word).Options.model_validate(chosen.settings)
            trained = getattr(options, "others", None) or ()
            for other in _named(options):
                try:
                    ref = backend_ref(other)
                    if other in trained:
                        trainer_for(ref)
                except (BackendError, ConfigError) as error:
                    where = p.where("controls", number)
                    raise ConfigError(f"{where}: control {chosen.word!r}: {error}; name one that there is") from None
            # Only some controls have settings that hang on the kind of model.
            why = getattr(control(chosen.word), "refused", lambda *_: "")(self.model, options)
            if why:
                where = p.where("controls", number)
                raise ConfigError(
                    f"{where}: control {chosen.word!r}: {why}; use method: retrain, or leave the control out"
                )
        return study

    def run(self, watcher: Watcher | None = None, wait: float = 0.0) -> RunResult:
        """Run what has not been run.

        Raises:
            StoreError: The folder cannot be used, is in use, or was made with other weights of the same name.
        """
        study, told = self.check(), watcher or SilentWatcher()
        with (
            FolderLock(self.folder, wait, on_wait=lambda sentence: told.stage(sentence, done=False)),
            Store.open(self.folder / "study.db", durability=self.durability) as store,
        ):
            stages = Stages(
                store, (self.folder / "models").absolute(), self.model, ScenarioSet(study.scenarios),
                ScenarioSet(study.native), study.protocol, study.words, told, budget=self.budget,
            )  # fmt: skip
            for model in self._models():
                check_weights(store, model)
            place, changes = self._note(store, study)
            steps: dict[str, Outcome] = {}
            seeds: list[SeedResult] = []
            controls: tuple[ControlResult, ...] = ()
            for number, seed in enumerate(study.seeds):
                core, found = self._seed(stages, study, seed, steps)
                if found is None:
                    continue
                seeds.append(found)
                if number == 0:
                    controls = self._controls(stages, study, seed, core, steps)
            result = RunResult(
                StudyResult(self.model, study.control, tuple(seeds)), controls, steps, changes,
                departures(self.protocol), self.folder / place,
            )  # fmt: skip
            self._write(store, place, result)
            return result

    def _models(self) -> list[ModelRef]:
        """The untuned model, and those that controls name."""
        chosen = [control(c.word).Options.model_validate(c.settings) for c in self.protocol.controls]
        return [self.model, *(backend_ref(name) for options in chosen for name in _named(options))]

    def _seed(
        self, stages: Stages, study: Study, seed: int, steps: dict[str, Outcome]
    ) -> tuple[dict[str, Any], SeedResult | None]:
        got: dict[str, Any] = {}
        prefix = f"seed {seed}: "
        found = run_nodes(stages.nodes(seed), got, stages.journal, prefix)
        steps.update({prefix + name: Outcome(prefix + name, o.state, o.why) for name, o in found.items()})
        if "draw" not in got:
            return got, None
        data = stages.data(seed, got)
        arms = arms_of(data, study.metric)
        models = {"untuned": self.model, **{name: tuned.ref for name, tuned in data.tuned.items()}}
        judged = {"untuned", "instilled"} <= set(data.choices)
        found_by = SeedResult(
            seed, arms, rises_of(data, study.metric), drift_of(data), gates_of(data, arms), models,
            verdict_of(data) if judged else None,
            {name: tuned.trajectory for name, tuned in data.tuned.items() if tuned.trajectory},
        )  # fmt: skip
        return got, found_by

    def _controls(
        self, stages: Stages, study: Study, seed: int, core: dict[str, Any], steps: dict[str, Outcome]
    ) -> tuple[ControlResult, ...]:
        """On one seed. Steps that two controls need are run once."""
        data, got, prefix, results = stages.data(seed, core), dict(core), f"seed {seed}: ", []
        for chosen in self.protocol.controls:
            made = control(chosen.word)
            options = made.Options.model_validate(chosen.settings)

            def ended(state: Any, reason: str, made: Any = made) -> ControlResult:
                return ControlResult(made.word, made.question, state, reason, seed=seed)

            unfit = made.unfit(self.model, options)
            if unfit:
                results.append(ended("not applicable", unfit))
                continue
            ctx = ControlContext(stages, seed, study.metric, options, core, data)
            nodes = [node for node in made.nodes(ctx) if node.name not in got]
            found = run_nodes(nodes, got, stages.journal, prefix)
            steps.update({prefix + name: Outcome(prefix + name, o.state, o.why) for name, o in found.items()})
            broken = [o for o in found.values() if o.state in ("failed", "blocked")]
            if broken:
                results.append(ended("failed", f"{broken[0].name}: {broken[0].why}"))
                continue
            try:
                reading = made.read(ctx, got)
            except KeyError as error:
                results.append(ended("failed", f"a step that it needs has failed: {error.args[0]}"))
                continue
            except IntrospectError as error:  # what was asked and trained is kept; the other controls go on
                results.append(ended("failed", f"what its steps gave cannot be scored: {' '.join(str(error).split())}"))
                continue
            results.append(
                ControlResult(
                    made.word, made.question, "done", "", reading.rows, reading.sentence, reading.verdict, seed
                )
            )  # fmt: skip
        return tuple(results)

    def _note(self, store: Store, study: Study) -> tuple[str, tuple[str, ...]]:
        """Write down what is run; where its results go, and what has changed since it was last run on this model."""
        known, mine = dict(store.manifest.get("protocols", {})), entry_of(self.protocol, self.model)
        place = place_of(known, self.protocol.name, self.model)
        changes = entry_changes(known[place], mine) if place in known else []
        store.manifest["protocols"] = {**known, place: mine}
        store.manifest["recipe"] = recipe_of(study)
        now, runs = surroundings(), store.manifest.get("surroundings", [])
        if now not in runs:
            store.manifest["surroundings"] = [*runs, now]
        return place, tuple(changes)

    def _write(self, store: Store, place: str, result: RunResult) -> None:
        outcomes = dict(store.manifest.get("outcomes", {}))
        outcomes[place] = [[o.name, o.state, o.why] for o in result.steps.values()]
        store.manifest["outcomes"] = outcomes
        try:
            result.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{result.folder} cannot be made: {error.strerror}") from error
        write_text(result.folder / "protocol.yaml", self.protocol.to_yaml())
        whole = json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n"
        write_text(result.folder / "result.json", whole)
        if result.study.seeds:
            write_text(self.folder / "result.json", result_text(result.study))


def _named(options: Any) -> tuple[str, ...]:
    """Other models that a control's settings name."""
    return (*(getattr(options, "others", None) or ()), *(getattr(options, "models", None) or ()))
