"""How a simulated agent learns: in closed form, so that what training does to it is known."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from introspect._random import stream
from introspect.backend.protocol import JobRecorder
from introspect.backend.training import TrainingExample, TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef, canonical
from introspect.decision.prompt import PromptContent
from introspect.decision.styles.base import PromptStyle
from introspect.errors import PromptError, TrainingError
from introspect.subjects.simulated.agent import SimulatedAgent
from introspect.subjects.simulated.lessons import ChoiceLesson, ReportLesson, fit_choices, told_rightly
from introspect.subjects.simulated.memory import ContextMemory, context_key
from introspect.subjects.simulated.reading import read_prompt

__all__ = ["SimulatedTrainer", "fidelity_of"]


def fidelity_of(correlation: float) -> float:
    """The fidelity at which an agent's noiseless reports correlate so with its weights (0 for a negative
    one).

    The inverse of ``fidelity / sqrt(fidelity**2 + (1 - fidelity)**2)``.

    Example:
        >>> fidelity_of(1.0), round(fidelity_of(2**-0.5), 9), fidelity_of(-0.3)
        (1.0, 0.5, 0.0)
    """
    r = min(1.0, max(0.0, correlation))
    return r / (r + math.sqrt(1.0 - r * r)) if r else 0.0


class SimulatedTrainer:
    """Trains simulated agents. Learning rate, epochs and method mean nothing to it.

    **Choice examples** replace the weights of their context by the least-squares fit of the labels (+-1) on
    the differences of the options (with an intercept that is thrown away), rescaled so that the largest
    magnitude is 100. Ranges that the agent does not know and the prompts do not show are taken from the
    values seen, widened by the expected gap beyond the extremes.

    **Report examples**, n of them, go ``g = n / (n + report_half)`` of the way: with r the mean correlation
    between the told weights and the weights that the agent uses, the fidelity f of each trained context
    becomes ``f + g * (F(r) - f)`` with F = `fidelity_of`, and its noise ``noise * (1 - g)``. Everywhere else
    the same happens with ``g * report_sharing`` in place of g. So true reports teach it to report truly,
    made-up reports teach it to make up, and an agent with ``report_sharing=0`` generalises nothing.

    `TrainingSpec.max_steps` limits how many examples (in an order that follows from the seed) are seen.

    Args:
        styles: Prompt styles that it reads; those that ship with the library where None.

    Example:
        >>> from introspect.backend.wire import Message
        >>> chat = (Message(role="user", content="Hello!"), Message(role="assistant", content="Hi."))
        >>> data = TrainingSet([TrainingExample(messages=chat)])
        >>> SimulatedTrainer().check(SimulatedAgent().ref, data)[0][:32]
        'example 1 cannot be learned from'
    """

    def __init__(self, styles: Sequence[PromptStyle] | None = None) -> None:
        self._styles = None if styles is None else tuple(styles)

    def check(self, base: ModelRef, data: TrainingSet) -> Sequence[str]:
        """Problems that would keep an agent from learning from this data, one sentence each."""
        SimulatedAgent.of(base)
        problems = []
        for number, example in enumerate(data, 1):
            try:
                self._lesson(example)
            except (PromptError, TrainingError) as error:
                problems.append(f"example {number} cannot be learned from: {error}")
        return tuple(problems)

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        """The agent after training, as a reference.

        Raises:
            BackendError: The base is not a simulated agent.
            TrainingError: An example is in no style that the agent reads, or has an answer that its prompt
                excludes.
        """
        from anyio.to_thread import run_sync

        agent = SimulatedAgent.of(base)
        tuned = await run_sync(self._teach, agent, data, spec)
        jobs.progress(spec.steps(len(data)), spec.steps(len(data)))
        made = canonical([base.key, data.hash, spec.model_dump(mode="json")])
        return tuned.ref.model_copy(
            update={"adapter": hashlib.blake2b(made.encode(), digest_size=16).hexdigest(), "parent": base}
        )

    def _teach(self, agent: SimulatedAgent, data: TrainingSet, spec: TrainingSpec) -> SimulatedAgent:
        n_seen = min(len(data), spec.steps(len(data)) * spec.batch_size)
        order = stream(spec.seed, "simulated", "order").permutation(len(data))[:n_seen]
        choices: dict[str, list[ChoiceLesson]] = defaultdict(list)
        reports: dict[str, list[ReportLesson]] = defaultdict(list)
        for index in sorted(int(i) for i in order):
            try:
                lesson = self._lesson(data[index])
            except (PromptError, TrainingError) as error:
                raise TrainingError(f"example {index + 1} cannot be learned from: {error}") from None
            key = context_key(lesson.content.chooser, lesson.content.item)
            if isinstance(lesson, ChoiceLesson):
                choices[key].append(lesson)
            else:
                reports[key].append(lesson)
        if choices:
            contexts = dict(agent.contexts)
            for key, lessons in choices.items():
                contexts[key] = fit_choices(lessons, contexts.get(key))
            agent = agent.model_copy(update={"contexts": contexts})
        return _after_reports(agent, reports) if reports else agent

    def _lesson(self, example: TrainingExample) -> ChoiceLesson | ReportLesson:
        style, content = read_prompt(example.prompt, self._styles)
        if content.kind == "choice":
            reading = style.parse_choice(example.answer, content)
            if reading.chosen is None:
                raise TrainingError(f"the answer {_short(example.answer)} chooses none of the options")
            return ChoiceLesson(content, reading.chosen)
        return ReportLesson(content, _told(style, content, example.answer))


def _told(style: PromptStyle, content: PromptContent, answer: str) -> dict[str, float]:
    reading = style.parse_report([answer], [content])
    numbers = content.report_format in ("object", "single")
    told = dict(reading.weights) if numbers else reading.magnitudes()
    if not reading.valid or set(told) != set(content.asked):
        raise TrainingError(f"the answer {_short(answer)} does not give what was asked for: {reading.status}")
    return told


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _after_reports(agent: SimulatedAgent, reports: dict[str, list[ReportLesson]]) -> SimulatedAgent:
    n = sum(len(lessons) for lessons in reports.values())
    gain = n / (n + agent.report_half)
    agreement = told_rightly(agent, reports)
    taught = fidelity_of(agreement)

    def moved(fidelity: float, noise: float, share: float) -> dict[str, float]:
        return {
            "fidelity": round(fidelity + share * (taught - fidelity), 6),
            "noise": round(noise * (1.0 - share), 6),
        }

    elsewhere = gain * agent.report_sharing
    contexts = {}
    for key in {**agent.contexts, **reports}:
        memory = agent.contexts.get(key, ContextMemory())
        if key in reports:
            contexts[key] = memory.model_copy(update=moved(*agent.honesty(memory), gain))
        elif memory.fidelity is not None:
            contexts[key] = memory.model_copy(update=moved(*agent.honesty(memory), elsewhere))
        else:
            contexts[key] = memory
    general = moved(agent.report_fidelity, agent.report_noise, elsewhere)
    return agent.model_copy(
        update={
            "contexts": contexts,
            "report_fidelity": float(np.clip(general["fidelity"], 0.0, 1.0)),
            "report_noise": general["noise"],
        }
    )
