"""Asks a model to choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from introspect.backend.portal import run_sync
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Reply
from introspect.decision.prompt import Prompt
from introspect.decision.reading import PARSER_VERSION, ReadingStatus
from introspect.decision.styles.base import PromptStyle
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.ask import OnReply, ask_all, request_of, status_of
from introspect.measure.choice_table import ChoiceTable

__all__ = ["ChoiceProbe"]


@dataclass(frozen=True)
class ChoiceProbe:
    """Shows trials to a model and keeps what it chose.

    Where the model gives the log-probabilities of the options' labels and most of its probability lies on
    them, the most probable option is the choice; elsewhere the reply's text is read. What is neither is
    missing.

    Attributes:
        style: Words the prompts and reads the answers.
        temperature: 0 is greedy, and more informative per question than sampling.
        graded: Whether to ask for log-probabilities.
        thinking: Token budget of a reasoning model; 0 turns reasoning off, None leaves the model's default.

    Example:
        >>> from introspect.backend.function import FunctionBackend
        >>> from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
        >>> from introspect.decision.trial_block import TrialBlock
        >>> trials = TrialSet([TrialBlock.of(organism_scenarios(2), [0, 1], np.arange(20).reshape(2, 2, 5))])
        >>> model = FunctionBackend(lambda request: "B", name="always-b", version="1")
        >>> ChoiceProbe(OrganismStyle()).run(model, trials).chosen
        array([1, 1], dtype=int8)
    """

    style: PromptStyle
    temperature: float = 0.0
    graded: bool = True
    thinking: int | None = None

    @property
    def id(self) -> str:
        """Everything about the probe that rows should carry."""
        return f"choice({self.style.id},temperature={self.temperature:g},parser={PARSER_VERSION})"

    def run(
        self, backend: ModelBackend, trials: TrialSet, on_reply: OnReply | None = None, progress: bool = False
    ) -> ChoiceTable:
        """Ask about every trial and wait. Works where an event loop is already running, as in a notebook.

        Args:
            backend: Who is asked.
            trials: What is shown.
            on_reply: Called with (number of the trial, reply) as replies arrive, from another thread.
            progress: Show a progress bar.

        Raises:
            PromptError: A trial that the style cannot word; raised before anything is asked.
            FatalBackendError: An error that dooms all further calls.
        """
        return run_sync(self.arun, backend, trials, on_reply, progress)

    async def arun(
        self, backend: ModelBackend, trials: TrialSet, on_reply: OnReply | None = None, progress: bool = False
    ) -> ChoiceTable:
        """The asynchronous twin of `run`."""
        if not isinstance(trials, TrialSet):
            raise MeasureError(
                f"a ChoiceProbe shows a TrialSet, got {type(trials).__name__}. Draw one: "
                f"TrialGenerator().trials(scenarios, 50, rng=0)"
            )
        prompts = [self.style.choice(scenario, trial) for scenario, trial in trials]
        requests = [
            request_of(p, temperature=self.temperature, thinking=self.thinking, graded=self.graded) for p in prompts
        ]
        replies = await ask_all(backend, requests, on_reply, "choices" if progress else None)
        return self._table(backend.info.key, trials, prompts, replies)

    def _table(self, model: str, trials: TrialSet, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> ChoiceTable:
        width = max((block.n_options for block in trials.blocks), default=0)
        n = len(prompts)
        chosen = np.full(n, -1, dtype=np.int8)
        logprob = np.full((n, width), np.nan)
        statuses: list[str] = []
        for i, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
            given = reply.answer_logprobs or {}
            row = [given.get(answer, math.nan) for answer in prompt.answers or ()]
            logprob[i, : len(row)] = row
            status, pick = self._read(prompt, reply, row)
            statuses.append(status)
            chosen[i] = -1 if pick is None else pick
        return ChoiceTable(
            trials=trials,
            model=model,
            probe=self.id,
            chosen=chosen,
            status=np.array(statuses, dtype=np.str_),
            text=tuple(reply.text for reply in replies),
            logprob=logprob,
            mass_outside=np.array([_nan(reply.mass_outside) for reply in replies], dtype=float),
            logprob_floor=np.array([_nan(reply.logprob_floor) for reply in replies], dtype=float),
        )

    def _read(self, prompt: Prompt, reply: Reply, logprob: Sequence[float]) -> tuple[ReadingStatus, int | None]:
        if reply.status in ("failed", "filtered"):
            return status_of([reply], "unparsable"), None
        graded = _most_probable(logprob, reply.mass_outside)
        if graded is not None:
            return "answered", graded
        reading = self.style.parse_choice(reply.text, prompt.content)
        status = status_of([reply], reading.status)
        return status, reading.chosen if status == "answered" else None


def _most_probable(logprob: Sequence[float], mass_outside: float | None) -> int | None:
    """The clearly most probable option; None where most probability lies elsewhere, or two are equally
    probable.

    A model that is about to refuse still ranks the labels, and a tie would always fall to the first option:
    neither is a choice, and the text decides.
    """
    given = [(value, k) for k, value in enumerate(logprob) if math.isfinite(value)]
    if not given:
        return None
    outside = mass_outside if mass_outside is not None else 1.0 - sum(math.exp(value) for value, _ in given)
    if outside > 0.5:
        return None
    given.sort(reverse=True)
    if len(given) > 1 and given[0][0] == given[1][0]:
        return None
    return given[0][1]


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
