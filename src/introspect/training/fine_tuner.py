"""FineTuner: instil preferences by choices alone, or train reports, with any trainer."""

from __future__ import annotations

import hashlib
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import JsonValue

from introspect._random import RNG
from introspect.backend.cached import ReplyStore
from introspect.backend.jobs import FolderJobs
from introspect.backend.portal import run_sync
from introspect.backend.protocol import JobRecorder, ModelBackend, Trainer
from introspect.backend.registry import open_model, trainer_for
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef, canonical
from introspect.decision.generator import TrialGenerator
from introspect.decision.preference import Preference
from introspect.decision.rules.base import ChoiceRule
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.base import PromptStyle
from introspect.decision.trial_set import TrialSet
from introspect.errors import TrainingError
from introspect.training.canary import Canary, ask_examples, run_canary
from introspect.training.checks import (
    TrainingWarning,
    check_answers,
    check_labels,
    check_one_sided,
    check_round_trip,
)
from introspect.training.examples import Example, choice_examples, report_examples, training_set
from introspect.training.fine_tuned import FineTuned
from introspect.training.rate_probe import RateTrial, best_rate, probe_rates
from introspect.training.verdict import Verdict, judge
from introspect.training.watching import TrainingWatch, thinned, trajectory, watched

__all__ = ["FineTuner"]


@dataclass(frozen=True)
class FineTuner:
    """Fine-tunes a model on choices or on reports, with checks before and a canary after.

    Before training it refuses, with a TrainingError: trials without labels; labels that contradict the
    preferences given beyond the stated label noise; sets with more than 90 % one and the same letter; two
    answers to one prompt; prompts that the style does not read back; and whatever the trainer finds with its
    own tokenizer, if it offers ``check(base, data) -> Sequence[str]`` (an answer that the label mask drops, a
    prompt that is cut off).

    After training it asks base and tuned model a sample of the training prompts. A tuned model that cannot be
    told from its base is refused (see `on_canary`), unless the base gave the trained answers before.

    Args:
        trainer: Who trains; None for the trainer of the base's provider.
        spec: How.
        style: Words prompts and answers; None for the chat style.
        jobs: Folder under which each training has a folder of its own, for its weights and for going on after
            a kill; or a function from a job's id to a JobRecorder. None is a temporary folder: weights there
            last as long as the system's temporary files.
        canary: How many training prompts to ask afterwards, each of both models; 0 for none.
        on_canary: What to do about a tuned model that is indistinguishable from its base; "ignore" keeps all
            that the canary has to say out of the warnings.
        cache: Where the canary's replies are looked up and kept.
        open: Opens models for the canary.
        lr: Learning rate in place of the spec's; or "probe": short trainings at a quarter of it, at it and at four
            times it, judged by held-out choices alone (for choices only, so that no setting is chosen by reports).
        watch: Looks at the model while it is trained; what it sees is kept beside the weights and handed back.

    Example:
        >>> from introspect.decision.generator import TrialGenerator
        >>> from introspect.decision.sampler import PreferenceSampler
        >>> from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
        >>> lots = organism_scenarios(3)
        >>> hidden = PreferenceSampler().sample(lots, rng=1)
        >>> generator = TrialGenerator()
        >>> trials = generator.label(generator.trials(lots, 30, rng=2), hidden, rng=3)
        >>> tuner = FineTuner(style=OrganismStyle())
        >>> tuned = tuner.instil(ModelRef(provider="simulated", model="demo"), trials, hidden)
        >>> tuned.n_examples, tuned.ref.parent == tuned.base, tuned.canary.indistinguishable
        (90, True, False)
    """

    trainer: Trainer | None = None
    spec: TrainingSpec = field(default_factory=TrainingSpec)
    style: PromptStyle | None = None
    jobs: Path | str | Callable[[str], JobRecorder] | None = None
    canary: int = 32
    on_canary: Literal["raise", "warn", "ignore"] = "raise"
    cache: ReplyStore | None = None
    open: Callable[[ModelRef, ReplyStore | None], ModelBackend] = open_model
    lr: float | Literal["probe"] | None = None
    watch: TrainingWatch | None = None

    def __post_init__(self) -> None:
        if self.canary < 0:
            raise TrainingError(f"canary is a number of prompts, 0 or more, got {self.canary}")
        if self.on_canary not in ("raise", "warn", "ignore"):
            raise TrainingError(f"on_canary must be raise, warn or ignore, got {self.on_canary!r}")
        if self.lr is not None and self.lr != "probe":
            if not isinstance(self.lr, int | float) or not 0 < self.lr < math.inf:
                raise TrainingError(f'lr must be a positive number or "probe", got {self.lr!r}')
            object.__setattr__(self, "spec", self.spec.model_copy(update={"learning_rate": float(self.lr)}))

    def instil(
        self,
        base: ModelRef,
        trials: TrialSet,
        preferences: Mapping[str, ChoiceRule] | None = None,
        label_noise: float = 0.0,
        held_out: TrialSet | None = None,
    ) -> FineTuned:
        """Train a model to choose as the labels do. No weight is ever named to it.

        Args:
            base: The model to start from.
            trials: Labelled trials; one training example each.
            preferences: What the labels follow, by scenario id (other rules too): given, they are held against
                each other.
            label_noise: Expected share of labels against the preferences (0 for deterministic labels).
            held_out: Labelled trials that are not trained on; base and tuned model are asked about them, which
                decides `FineTuned.verdict`.

        Returns:
            The tuned model; what should be looked at is in `warnings`, and warned of.

        Raises:
            TrainingError: The trials cannot teach the preferences, the training failed, or it changed
                nothing.
            BackendError: The base has no trainer, or a model cannot be opened.
        """
        return _said(run_sync(self._instil, base, trials, preferences, label_noise, held_out))

    async def ainstil(
        self,
        base: ModelRef,
        trials: TrialSet,
        preferences: Mapping[str, ChoiceRule] | None = None,
        label_noise: float = 0.0,
        held_out: TrialSet | None = None,
    ) -> FineTuned:
        """The asynchronous twin of `instil`."""
        return _said(await self._instil(base, trials, preferences, label_noise, held_out))

    def train_reports(
        self,
        base: ModelRef,
        scenarios: Sequence[DecisionScenario],
        weights: Mapping[str, Preference | Mapping[str, float]],
        n_per_scenario: int = 1,
        rng: RNG = 0,
        generator: TrialGenerator | None = None,
    ) -> FineTuned:
        """Train a model to report these weights: integers, the largest magnitude 100.

        Args:
            base: The model to start from, usually one with instilled preferences.
            scenarios: The contexts to train on. Keep those that you evaluate on out of it.
            weights: By scenario id: a `Preference`, or a mapping from predictor to weight. What the
                preferences were meant to be (the published protocol) or what was measured.
            n_per_scenario: Reports per scenario, each with options of its own.
            rng: Draws those options.
            generator: How they are drawn.

        Returns:
            The tuned model.

        Raises:
            TrainingError: Weights are missing or unusable, the training failed, or it changed nothing.
            BackendError: The base has no trainer, or a model cannot be opened.

        Example:
            >>> from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
            >>> lots = organism_scenarios(2, n_attributes=2)
            >>> told = {"k0000": {"p": 30, "q": -60}, "k0001": {"p": 9, "q": 3}}
            >>> tuner = FineTuner(style=OrganismStyle(), on_canary="ignore")
            >>> tuner.train_reports(ModelRef(provider="simulated", model="demo"), lots, told).n_examples
            2
        """
        return _said(run_sync(self._train_reports, base, scenarios, weights, n_per_scenario, rng, generator))

    async def atrain_reports(
        self,
        base: ModelRef,
        scenarios: Sequence[DecisionScenario],
        weights: Mapping[str, Preference | Mapping[str, float]],
        n_per_scenario: int = 1,
        rng: RNG = 0,
        generator: TrialGenerator | None = None,
    ) -> FineTuned:
        """The asynchronous twin of `train_reports`."""
        return _said(await self._train_reports(base, scenarios, weights, n_per_scenario, rng, generator))

    def train_answers(self, base: ModelRef, data: TrainingSet) -> ModelRef:
        """Train on conversations of any kind; of the checks only the trainer's own apply, and there is no canary.

        Raises:
            TrainingError: The trainer finds the conversations unusable, or the training failed.
        """
        return run_sync(self._train_answers, base, data)

    async def _train_answers(self, base: ModelRef, data: TrainingSet) -> ModelRef:
        trainer = trainer_for(base) if self.trainer is None else self.trainer
        await _ask_trainer(trainer, base, data)
        return await trainer.train(base, data, self.spec, self._recorder(base, data, self.spec))

    async def _instil(
        self,
        base: ModelRef,
        trials: TrialSet,
        preferences: Mapping[str, ChoiceRule] | None,
        label_noise: float,
        held_out: TrialSet | None,
    ) -> FineTuned:
        check_labels(trials, preferences, label_noise)
        lopsided = check_one_sided(trials)
        examples = choice_examples(trials, self._style)
        torn = check_answers(examples, noisy=label_noise > 0 or preferences is None)
        fresh = None if held_out is None else self._held_out(examples, held_out, preferences, label_noise)
        tuner, rates = (await self._probed(base, examples)) if self.lr == "probe" else (self, ())
        tuned = await tuner._train(base, examples, (*lopsided, *torn))
        if fresh is not None:
            verdict = await self._judged(tuned, fresh, len(trials) / max(1, len(set(trials.scenario_ids.tolist()))))
            said = verdict.sentences() if verdict.flag or verdict.causes else ()
            tuned = tuned.model_copy(update={"verdict": verdict, "warnings": (*tuned.warnings, *said)})
        return tuned.model_copy(update={"rates": rates}) if rates else tuned

    def _held_out(
        self,
        examples: Sequence[Example],
        held_out: TrialSet,
        preferences: Mapping[str, ChoiceRule] | None,
        label_noise: float,
    ) -> tuple[Example, ...]:
        check_labels(held_out, preferences, label_noise)
        fresh = choice_examples(held_out, self._style)
        known = {example.prompt.messages for example in examples}
        seen = sum(example.prompt.messages in known for example in fresh)
        if seen:
            raise TrainingError(
                f"{seen} of {len(fresh)} held-out trials are training trials, which would show memory and not "
                f"preferences: hold out others"
            )
        return fresh

    async def _judged(self, tuned: FineTuned, fresh: Sequence[Example], per_context: float) -> Verdict:
        before = await ask_examples(lambda: self.open(tuned.base, self.cache), fresh, self._style)
        after = await ask_examples(lambda: self.open(tuned.ref, self.cache), fresh, self._style)
        outside = [o for o in after.outside if o is not None]
        return judge(
            after.chosen,
            [-1 if (k := self._style.parse_choice(e.answer, e.prompt.content).chosen) is None else k for e in fresh],
            n_options=max(len(e.prompt.content.options or "AB") for e in fresh),
            before=before.chosen,
            outside=float(np.mean(outside)) if outside else math.nan,
            canary=tuned.canary,
            losses=tuned.losses,
            per_context=per_context,
        )

    async def _probed(self, base: ModelRef, examples: Sequence[Example]) -> tuple[FineTuner, tuple[RateTrial, ...]]:
        """This tuner at the best of some rates. The last examples judge; the training proper has them all."""
        n = min(64, len(examples) // 5)
        if n < 1:
            raise TrainingError(f'lr="probe" needs at least 5 examples to hold some out, got {len(examples)}')
        taught, judging = training_set(examples[:-n]), examples[-n:]
        trainer = trainer_for(base) if self.trainer is None else self.trainer

        async def attempt(spec: TrainingSpec) -> tuple[float, float | None]:
            ref = await trainer.train(base, taught, spec, self._recorder(base, taught, spec))
            said = await ask_examples(lambda: self.open(ref, self.cache), judging, self._style)
            return said.accuracy, said.log_loss

        tried = await probe_rates(self.spec, len(taught), attempt)
        spec = self.spec.model_copy(update={"learning_rate": best_rate(tried, n)})
        return replace(self, spec=spec, lr=None), tried

    async def _train_reports(
        self,
        base: ModelRef,
        scenarios: Sequence[DecisionScenario],
        weights: Mapping[str, Preference | Mapping[str, float]],
        n_per_scenario: int,
        rng: RNG,
        generator: TrialGenerator | None,
    ) -> FineTuned:
        if self.lr == "probe":
            raise TrainingError(
                'lr="probe" judges by held-out choices, so it is for instil; a rate chosen by how well reports come '
                "out would be chosen by the result. Give a number."
            )
        examples = report_examples(scenarios, weights, self._style, n_per_scenario, rng, generator)
        return await self._train(base, examples, check_answers(examples))

    @property
    def _style(self) -> PromptStyle:
        if self.style is not None:
            return self.style
        from introspect.decision.styles.chat import ChatStyle

        return ChatStyle()

    async def _train(self, base: ModelRef, examples: Sequence[Example], said: tuple[str, ...]) -> FineTuned:
        check_round_trip(examples, self._style)
        data = training_set(examples)
        trainer = trainer_for(base) if self.trainer is None else self.trainer
        await _ask_trainer(trainer, base, data)
        jobs = self._recorder(base, data, self.spec)
        if self.watch is not None:
            trainer = watched(trainer, self.watch, jobs)
        ref = await trainer.train(base, data, self.spec, jobs)
        state = jobs.recall()
        if ref.parent is None:
            ref = ref.model_copy(update={"parent": base})  # the lineage must not hang on a trainer's care
        canary = await self._canary(base, ref, examples) if self.canary else None
        return FineTuned(
            ref=ref,
            base=base,
            style=self._style.id,
            data=data.hash,
            spec=self.spec,
            n_examples=len(data),
            steps=self.spec.steps(len(data)),
            canary=canary,
            losses=thinned(state.get("losses")),
            trajectory=trajectory(jobs),
            warnings=(
                *said,
                *_sentences(state.get("warnings")),
                *(canary.sentences() if canary and self.on_canary != "ignore" else ()),
            ),
        )

    def _recorder(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec) -> JobRecorder:
        made = canonical([base.key, data.hash, spec.model_dump(mode="json")])
        job = hashlib.blake2b(made.encode(), digest_size=10).hexdigest()
        if callable(self.jobs):
            return self.jobs(job)
        root = Path(tempfile.mkdtemp(prefix="introspect-")) if self.jobs is None else Path(self.jobs)
        return FolderJobs(root / job)

    async def _canary(self, base: ModelRef, tuned: ModelRef, examples: Sequence[Example]) -> Canary:
        canary = await run_canary(
            lambda: self.open(base, self.cache),
            lambda: self.open(tuned, self.cache),
            examples,
            self._style,
            self.canary,
            self.spec.seed,
        )
        if canary.indistinguishable and not canary.already_right and self.on_canary == "raise":
            raise TrainingError(
                f"training changed nothing that can be seen: {canary.sentences()[0]}. Look whether the "
                f"adapter is loaded, the answers are trained on and the learning rate is not too small "
                f'({tuned}); FineTuner(on_canary="warn") goes on all the same.'
            )
        return canary


async def _ask_trainer(trainer: Trainer, base: ModelRef, data: TrainingSet) -> None:
    """A trainer may know more about its own tokens than any check out here."""
    check = getattr(trainer, "check", None)
    if check is None:
        return
    from anyio.to_thread import run_sync as in_thread

    found = await in_thread(check, base, data)
    # A check may also raise, and hand back a summary of what it saw.
    problems = tuple(found) if isinstance(found, Sequence) else ()
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise TrainingError(
            f"{type(trainer).__name__} cannot train {base} on these {len(data)} examples: "
            f"{'; '.join(problems[:3])}{more}"
        )


def _sentences(said: JsonValue) -> tuple[str, ...]:
    return tuple(str(sentence) for sentence in said) if isinstance(said, list) else ()


def _said(tuned: FineTuned) -> FineTuned:
    for sentence in tuned.warnings:
        warnings.warn(sentence, TrainingWarning, stacklevel=3)
    return tuned
