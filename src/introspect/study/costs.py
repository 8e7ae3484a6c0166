"""What a study would cost, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from introspect._notebook import frame_of, html_rows, short_repr
from introspect._random import stream
from introspect.decision import DecisionScenario, PromptStyle, ScenarioSet, Trial, TrialGenerator
from introspect.study.protocol import StudyProtocol
from introspect.training import FineTuner

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StagePlan", "StudyPlan", "plan_study"]

_CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True)
class StagePlan:
    """One stage of one seed.

    Attributes:
        name: The stage.
        calls: Questions to the model, and after a training those that make sure that it took.
        prompt_tokens: Tokens in those questions, estimated.
        training_examples: Examples trained on, once.
        steps: Gradient steps.
        training_tokens: Tokens that pass through training, all epochs, estimated.
    """

    name: str
    calls: int = 0
    prompt_tokens: int = 0
    training_examples: int = 0
    steps: int = 0
    training_tokens: int = 0


@dataclass(frozen=True)
class StudyPlan:
    """All stages of one seed, and how many seeds.

    Tokens are estimated from rendered prompts at four characters a token (a word a token for organisms); calls and
    steps are exact, but for replies that are in the cache already (and, where weights are asked for one at a time and
    contexts have different numbers of them, for which contexts a fold happens to hold).
    """

    stages: tuple[StagePlan, ...]
    n_seeds: int

    def total(self, field: str) -> int:
        """Sum of one column over stages and seeds."""
        return self.n_seeds * sum(int(getattr(stage, field)) for stage in self.stages)

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self.stages)} stages, {self.n_seeds} seeds, {self.total('calls'):,} calls")

    def _repr_html_(self) -> str:
        return html_rows("Plan of one seed", [asdict(s) for s in self.stages], self.sentences()[-1], most=60)

    def to_frame(self) -> pd.DataFrame:
        """One row per stage of one seed."""
        return frame_of(asdict(stage) for stage in self.stages)

    def sentences(self) -> list[str]:
        """The plan in words, a table and its sum."""
        head = f"{'stage':<34}{'calls':>8}{'tokens':>11}{'steps':>8}{'training tokens':>17}"
        rows = [
            f"{s.name:<34}{s.calls:>8,}{s.prompt_tokens:>11,}{s.steps:>8,}{s.training_tokens:>17,}" for s in self.stages
        ]
        return [
            head,
            *rows,
            f"{self.n_seeds} seed(s) in all: {self.total('calls'):,} calls with about "
            f"{self.total('prompt_tokens'):,} prompt tokens, {self.total('steps'):,} gradient steps on about "
            f"{self.total('training_tokens'):,} tokens.",
        ]


def plan_study(
    scenarios: ScenarioSet, native: ScenarioSet, protocol: StudyProtocol, style: PromptStyle, n_seeds: int
) -> StudyPlan:
    """Count calls, tokens and gradient steps. Asks nothing and trains nothing."""
    p = protocol
    n, m = len(scenarios), len(native)
    options = p.n_options
    choice = _tokens(scenarios, style, False, options)
    report, asks = _tokens(scenarios, style, True, options), _prompts_a_report(scenarios, style)
    canary = FineTuner.canary
    native_choice, native_report = _tokens(native, style, False, options), _tokens(native, style, True, options)
    native_asks = _prompts_a_report(native, style)

    def choices(name: str, models: int = 1) -> StagePlan:
        calls = models * n * p.n_measure
        return StagePlan(name, calls, round(calls * choice))

    def reports(name: str, models: int = 1) -> StagePlan:
        calls = models * round(n * p.n_reports * asks)
        return StagePlan(name, calls, round(calls * report))

    def on_native(name: str, with_choices: bool = True) -> StagePlan:
        asked = round(m * p.n_reports * native_asks)
        chosen = m * p.n_native if with_choices else 0
        return StagePlan(name, asked + chosen, round(chosen * native_choice + asked * native_report))

    def report_training(name: str, contexts: int) -> StagePlan:
        examples = round(contexts * p.n_examples * asks)
        steps = p.report.steps(examples)
        seen = min(steps * p.report.batch_size, p.report.epochs * examples)
        asked = 2 * min(canary, examples)
        return StagePlan(name, asked, round(asked * report), examples, steps, round(seen * report))

    instil = n * p.n_instil
    steps = p.instil.steps(instil)
    # After a training, base and tuned model are asked a sample of what was trained on.
    asked = 2 * min(canary, instil)
    stages = [
        choices("untuned: choices"),
        reports("untuned: reports"),
        *([on_native("untuned: native reports", False)] if m else []),
        StagePlan(
            "instil",
            asked,
            round(asked * choice),
            instil,
            steps,
            round(min(steps * p.instil.batch_size, p.instil.epochs * instil) * choice),
        ),
        *(
            [StagePlan("instilled: validation", n * p.n_validation, round(n * p.n_validation * choice))]
            if p.n_validation
            else []
        ),
        choices("instilled: choices"),
        reports("instilled: reports"),
        *([on_native("instilled: native")] if m else []),
    ]
    drawn = scenarios.folds(p.n_folds, stream(0, "plan")) if p.folds is None else p.folds
    for fold, (train, _) in enumerate(drawn, 1):
        stages.append(report_training(f"report training {fold} of {len(drawn)}", len(train)))
    stages.append(reports("report-trained: reports", len(drawn)))
    if p.remeasure:
        stages.append(choices("report-trained: choices again", len(drawn)))
    if m and p.train_all:
        stages += [report_training("report training on all", n), on_native("report-trained: native", p.remeasure)]
    return StudyPlan(tuple(stages), n_seeds)


def _prompts_a_report(scenarios: Sequence[DecisionScenario], style: PromptStyle) -> float:
    """Mean over contexts: where weights are asked for one at a time, it depends on how many there are."""
    counts = {}
    for scenario in scenarios:
        if len(scenario.predictors) not in counts:
            counts[len(scenario.predictors)] = len(style.report(scenario, _example(scenario)))
    return sum(counts[len(s.predictors)] for s in scenarios) / len(scenarios) if scenarios else 0.0


def _example(scenario: DecisionScenario, n_options: int = 2) -> Trial:
    (_, trial), *_ = TrialGenerator(n_options=n_options).trials([scenario], 1, rng=0)
    return trial


def _tokens(scenarios: Sequence[DecisionScenario], style: PromptStyle, report: bool, n_options: int) -> float:
    """Estimated tokens of one prompt, averaged over a few contexts."""
    sizes = []
    for scenario in scenarios[:8]:
        trial = _example(scenario, n_options)
        prompts = style.report(scenario, trial) if report else (style.choice(scenario, trial),)
        for prompt in prompts:
            text = " ".join(message.content for message in prompt.messages)
            words = len(text.split()) + 1
            sizes.append(words if style.id.startswith("organism") else len(text) / _CHARACTERS_A_TOKEN)
    return sum(sizes) / len(sizes) if sizes else 0.0
