"""Probes as Inspect tasks, and Inspect's logs as a backend. Needs the extra ``inspect``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect._random import RNG
from introspect.backend.failures import Failure
from introspect.backend.inspect_model import TOP, reply_of
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Capabilities, ModelInfo, ModelRef, Reply, Request, canonical
from introspect.decision.prompt import ChatMessage
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial_set import TrialSet
from introspect.errors import BackendError, MissingExtraError
from introspect.measure.choice_probe import ChoiceProbe
from introspect.measure.report_probe import SelfReportProbe

if TYPE_CHECKING:
    from inspect_ai import Task

__all__ = ["InspectLog", "choice_task", "report_task"]


def choice_task(probe: ChoiceProbe, trials: TrialSet, logprobs: bool = False) -> Task:
    """The choices that a probe asks for, as an Inspect task.

    Run it with ``inspect_ai.eval(task, model=...)`` or from a file with ``inspect eval``; ``inspect view`` opens the
    log. Each sample's score is the letter that the style's parser read, with "follows" (the share of labelled trials
    answered as labelled) as the metric. `InspectLog` gives the log back to the same probe.

    Args:
        probe: Words and reads the choices.
        trials: What is shown; labelled trials are scored.
        logprobs: Ask for the most probable tokens, where the model gives them.

    Raises:
        MissingExtraError: inspect_ai is not installed.
    """
    contents = [(probe.style.choice(scenario, trial), scenario, trial) for scenario, trial in trials]
    requests = _requests(lambda model: probe.run(model, trials))

    def read(number: int, text: str) -> tuple[float, str, str]:
        prompt, _, trial = contents[number]
        reading = probe.style.parse_choice(text, prompt.content)
        if reading.chosen is None or reading.status != "answered":
            return 0.0, "", reading.status
        right = trial.label is not None and trial.label == reading.chosen
        return float(right), (prompt.answers or ())[reading.chosen], reading.status

    ids = [f"{scenario.id}-{number}" for number, (_, scenario, _) in enumerate(contents)]
    return _task("introspect_choices", "follows", requests, ids, read, logprobs)


def report_task(probe: SelfReportProbe, scenarios: Iterable[DecisionScenario], rng: RNG) -> Task:
    """The reports that a probe asks for, as an Inspect task; its metric is the share of readable reports.

    Args:
        probe: Words and reads the reports.
        scenarios: What the model is asked about.
        rng: Seed of the options shown; give `SelfReportProbe.run` the same one to read the log.

    Raises:
        MissingExtraError: inspect_ai is not installed.
    """
    contexts = list(scenarios)
    requests = _requests(lambda model: probe.run(model, contexts, rng))
    style = probe.style
    contents = [style.read([ChatMessage(m.role, m.content) for m in request.messages]) for request in requests]

    def read(number: int, text: str) -> tuple[float, str, str]:
        reading = style.parse_report([text], [contents[number]])
        said = json.dumps(dict(reading.weights)) if reading.weights else ""
        return float(reading.status == "answered"), said, reading.status

    ids = [f"report-{number}" for number in range(len(requests))]
    return _task("introspect_reports", "answered", requests, ids, read, False)


class InspectLog:
    """An Inspect log as a backend: a probe that is run on it reads what the model said in Inspect.

    Args:
        log: An `inspect_ai.log.EvalLog`, or the path of one.

    Raises:
        MissingExtraError: inspect_ai is not installed.
        BackendError: The log cannot be read, or holds no samples.
    """

    def __init__(self, log: Any) -> None:
        try:
            from inspect_ai.log import read_eval_log
        except ImportError:
            raise MissingExtraError("inspect_ai", "inspect") from None
        if isinstance(log, str | Path):
            try:
                log = read_eval_log(str(log))
            except Exception as error:
                raise BackendError(f"{log} cannot be read as a log of Inspect: {error}") from None
        if not log.samples:
            raise BackendError(
                f"the log of task {log.eval.task!r} holds no samples (status {log.status!r}); run the task again, or "
                f"read the whole log and not its header"
            )
        self._outputs = {
            sample.metadata["request"]: sample.output for sample in log.samples if "request" in (sample.metadata or {})
        }
        name = str(log.eval.model)
        self._info = ModelInfo(ref=ModelRef(provider="inspect", model=name, location=log.eval.model_base_url))

    @property
    def info(self) -> ModelInfo:
        """The model that answered in Inspect."""
        return self._info

    async def probe(self) -> Capabilities:
        """What the log holds; nothing is asked."""
        outputs = self._outputs.values()
        seen = any(not output.empty and output.choices[0].logprobs is not None for output in outputs)
        return Capabilities(answer_logprobs=seen)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """What the log holds for each request; a request that it does not hold is a failed reply."""
        for index, request in enumerate(requests):
            output = self._outputs.get(_key(request))
            if output is None:
                yield index, Failure("unable").reply("the log holds no sample for this request: other trials or style?")
            else:
                yield index, reply_of(output, request)

    async def aclose(self) -> None:
        """Nothing to close."""


class _Collector:
    """A backend that answers nothing and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(ref=ModelRef(provider="inspect", model="none"))

    async def probe(self) -> Capabilities:
        return Capabilities(answer_logprobs=False)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        self.requests = list(requests)
        for index, _ in enumerate(requests):
            yield index, Reply(status="failed", reason="not asked: only the questions were wanted")

    async def aclose(self) -> None:
        pass


def _requests(run: Callable[[ModelBackend], object]) -> list[Request]:
    collector = _Collector()
    run(collector)
    return collector.requests


def _key(request: Request) -> str:
    """Which question this is, whatever the settings of sampling that Inspect was run with."""
    said = [message.model_dump() for message in request.messages]
    return hashlib.blake2b(canonical([said, request.sample_index]).encode(), digest_size=10).hexdigest()


def _task(
    name: str,
    metric: str,
    requests: Sequence[Request],
    ids: Sequence[str],
    read: Callable[[int, str], tuple[float, str, str]],
    logprobs: bool,
) -> Task:
    try:
        from inspect_ai import Task
        from inspect_ai.dataset import MemoryDataset, Sample
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig
        from inspect_ai.scorer import Score, mean, scorer
        from inspect_ai.solver import generate
    except ImportError:
        raise MissingExtraError("inspect_ai", "inspect") from None
    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    samples = [
        Sample(
            id=identity,
            input=[kinds[message.role](content=message.content) for message in request.messages],
            target="",
            metadata={"request": _key(request), "number": number},
        )
        for number, (identity, request) in enumerate(zip(ids, requests, strict=True))
    ]

    @scorer(metrics=[mean()], name=f"introspect_{metric}")  # type: ignore[untyped-decorator]
    def reads() -> Any:
        async def score(state: Any, _target: Any) -> Any:
            value, answer, status = read(state.metadata["number"], state.output.completion)
            return Score(value=value, answer=answer, explanation=status)

        return score

    longest = max((request.max_tokens for request in requests), default=256)
    wanted = {"logprobs": True, "top_logprobs": TOP} if logprobs else {}
    temperature = requests[0].temperature if requests else 0.0
    return Task(
        name=name,
        dataset=MemoryDataset(samples, name=name),
        solver=generate(),
        scorer=reads(),
        config=GenerateConfig(max_tokens=longest, temperature=temperature, **wanted),
    )
