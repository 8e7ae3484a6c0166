"""Few-shot: examples of reports in the prompt, instead of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from introspect.backend.wire import ModelRef
from introspect.decision import DecisionScenario, PromptStyle, Trial, TrialGenerator
from introspect.decision.prompt import ChatMessage, Prompt, PromptContent
from introspect.study.controls.base import ControlContext, Reading, rise_fields, shown, wordless
from introspect.study.controls.wrapped import WrappedStyle
from introspect.study.drawing import content_hash
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section

__all__ = ["FewShot", "ShotStyle"]


class _Options(Section):
    examples: int = Field(default=4, ge=1)


@dataclass(frozen=True)
class ShotStyle(WrappedStyle):
    """A style whose report prompts begin with answered ones.

    Attributes:
        style: Words everything.
        shots: Messages of the examples, a user's and an assistant's in turn.
    """

    shots: tuple[ChatMessage, ...]

    @property
    def id(self) -> str:
        """The style's, and the hash of the examples."""
        return f"{self.style.id}+shots({len(self.shots) // 2},{content_hash([list(m) for m in self.shots])[7:19]})"

    def report(self, scenario: DecisionScenario, trial: Trial | None = None) -> tuple[Prompt, ...]:
        """As the style words it, after the examples."""
        return tuple(self._after_shots(prompt) for prompt in self.style.report(scenario, trial))

    def read(self, messages: Sequence[ChatMessage]) -> PromptContent:
        """What the last question says."""
        system = [m for m in messages[:1] if m.role == "system"]
        return self.style.read([*system, messages[-1]])

    def _after_shots(self, prompt: Prompt) -> Prompt:
        first = [m for m in prompt.messages[:1] if m.role == "system"]
        return replace(prompt, messages=(*first, *self.shots, *prompt.messages[len(first) :]))


class FewShot:
    """The instilled model, untrained to report, shown a few true reports of other contexts in the prompt."""

    word = "few-shot"
    question = "Do a few examples in the prompt do what report training does?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """Organisms, and the simulated agent that speaks their language, read one line and have no earlier turns."""
        return "it reads one line of its small language and remembers no earlier turn" if wordless(model) else ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Reports of the instilled model on each fold's held-out contexts, after examples from the others."""
        stages, nodes = ctx.stages, []
        for k, (train, test) in enumerate(ctx.folds, 1):
            name = f"few-shot {k}"

            def ask(got: Mapping[str, Any], name: str = name, train: Sequence[str] = train,
                    test: Sequence[str] = test) -> Any:  # fmt: skip
                probe = stages.report_probe
                style = ShotStyle(probe.style, _shots(ctx, got, probe.style, train))
                contexts = [stages.scenarios.by_id(i) for i in test]
                ref = got["train instilled"].ref
                return stages.reports(ctx.seed, name, ref, contexts, probe=replace(probe, style=style))

            nodes.append(Node(f"{name}: reports", ("train instilled", "draw"), ask))
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """Held-out r after examples, beside r without them and after training."""
        before, shot, trained = (
            ctx.seed_data.reports["instilled"],
            ctx.held_out(got, "few-shot "),
            ctx.held_out(got, "fold"),
        )
        rise, margin = ctx.rise(before, shot), ctx.rise(shot, trained)
        # No more than there are contexts to take them from.
        n = min(ctx.options.examples, *(len(train) for train, _ in ctx.folds))
        return Reading(
            (
                ctx.row("no examples", before),
                ctx.row(f"{n} examples in the prompt", shot, **rise_fields(rise)),
                ctx.row("report training", trained, **rise_fields(ctx.rise(before, trained))),
            ),
            f"Examples in the prompt moved held-out r by {shown(rise.rise)}; training moved it {shown(margin.rise)} "
            "further.",
        )


def _shots(
    ctx: ControlContext, got: Mapping[str, Any], style: PromptStyle, train: Sequence[str]
) -> tuple[ChatMessage, ...]:
    draw, messages = got["draw"], []
    contexts = [ctx.stages.scenarios.by_id(i) for i in train[: ctx.options.examples]]
    for scenario, trial in TrialGenerator(n_options=ctx.stages.protocol.n_options).trials(contexts, 1, ctx.seed):
        prompt = style.report(scenario, trial)[0]
        answer = style.answer_report(prompt.content, dict(draw.preferences[scenario.id].normalised().weights))
        messages += [prompt.messages[-1], ChatMessage("assistant", answer)]
    return tuple(messages)
