"""Asks a model for its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from introspect._random import RNG, root_seed, stream
from introspect.backend.portal import run_sync
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Reply
from introspect.decision.generator import TrialGenerator
from introspect.decision.prompt import Prompt
from introspect.decision.reading import PARSER_VERSION
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.base import PromptStyle
from introspect.decision.trial import Trial
from introspect.errors import ConfigError, MeasureError, ScenarioError
from introspect.measure.ask import OnReply, ask_all, report_schema, request_of, status_of
from introspect.measure.report_table import ReportTable

__all__ = ["SelfReportProbe"]


@dataclass(frozen=True)
class SelfReportProbe:
    """Asks a model several times per scenario how heavily each predictor weighs in its choices.

    Each repeat shows options of its own where options are shown, so that their mean does not hang on one
    pair.

    Attributes:
        style: Words the prompts and reads the answers.
        k: Reports per scenario.
        options: "fresh" shows newly drawn options in every report's prompt, "none" shows no options.
        temperature: 0 is greedy. Without fresh options greedy repeats of a report are all alike.
        shuffle_attributes: Draw an order of attributes for each report (the style decides whether it lists
            them so).
        n_options: Options shown per report.
        thinking: Token budget of a reasoning model; 0 turns reasoning off, None leaves the model's default.
        structured: Have the server hold the model to a JSON object of all weights. It must be one that really does so
            (`introspect doctor`), and the style must ask for such an object.

    Raises:
        ConfigError: A setting is out of range.

    Example:
        >>> from introspect.backend.function import FunctionBackend
        >>> from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
        >>> model = FunctionBackend(lambda request: "37 -100 24 8 90", name="sure", version="1")
        >>> table = SelfReportProbe(OrganismStyle(), k=3).run(model, organism_scenarios(2), rng=0)
        >>> len(table), table.mean()["k0001"]["q"]
        (6, -100.0)
    """

    style: PromptStyle
    k: int = 10
    options: Literal["fresh", "none"] = "fresh"
    temperature: float = 0.0
    shuffle_attributes: bool = False
    n_options: int = 2
    thinking: int | None = None
    structured: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or self.k < 1:
            raise ConfigError(f"k must be a whole number of reports per scenario, 1 or more, got {self.k!r}")
        if self.options not in ("fresh", "none"):
            raise ConfigError(f'options must be "fresh" or "none", got {self.options!r}')
        if not self.temperature >= 0:
            raise ConfigError(f"temperature must be 0 or more, got {self.temperature}")
        if self.structured and getattr(self.style, "report_format", "object") != "object":
            raise ConfigError(f'structured reports need the report format "object", got {self.style.id}')

    @property
    def id(self) -> str:
        """Everything about the probe that rows should carry."""
        order = ",shuffled" if self.shuffle_attributes else ""
        order += ",structured" if self.structured else ""
        order += f",n_options={self.n_options}" if self.n_options != 2 and self.options == "fresh" else ""
        return (
            f"report({self.style.id},k={self.k},options={self.options}{order},"
            f"temperature={self.temperature:g},parser={PARSER_VERSION})"
        )

    def run(
        self,
        backend: ModelBackend,
        scenarios: Iterable[DecisionScenario],
        rng: RNG,
        on_reply: OnReply | None = None,
        progress: bool = False,
    ) -> ReportTable:
        """Ask about every scenario and wait. Works where an event loop is already running, as in a notebook.

        Args:
            backend: Who is asked.
            scenarios: What it is asked about, with distinct ids.
            rng: Seed of the options shown and of sampling. A scenario's prompts do not depend on the others.
            on_reply: Called with (number of the request, reply) as replies arrive, from another thread.
            progress: Show a progress bar.

        Raises:
            ScenarioError: Two scenarios share an id, or one has too small a grid for k fresh sets of options.
            PromptError: A scenario that the style cannot word. Both are raised before anything is asked.
            FatalBackendError: An error that dooms all further calls.
            MeasureError: Something else than scenarios.
        """
        return run_sync(self.arun, backend, scenarios, rng, on_reply, progress)

    async def arun(
        self,
        backend: ModelBackend,
        scenarios: Iterable[DecisionScenario],
        rng: RNG,
        on_reply: OnReply | None = None,
        progress: bool = False,
    ) -> ReportTable:
        """The asynchronous twin of `run`."""
        seed = root_seed(rng)
        contexts = list(scenarios)
        wrong = next((one for one in contexts if not isinstance(one, DecisionScenario)), None)
        if wrong is not None:
            raise MeasureError(
                f"a SelfReportProbe asks about scenarios, got {type(wrong).__name__}. Give a ScenarioSet, or the "
                "scenarios of a TrialSet: trials.scenarios"
            )
        shown = self._shown(contexts, seed)
        asked = [
            (scenario, repeat, trial, self.style.report(scenario, trial))
            for scenario in contexts
            for repeat, trial in enumerate(shown[scenario.id])
        ]
        requests = [
            request_of(
                prompt,
                temperature=self.temperature,
                seed=self._sampling_seed(seed, scenario.id, repeat),
                sample_index=repeat,
                thinking=self.thinking,
                graded=False,
                json_schema=report_schema(prompt.content.asked) if self.structured else None,
            )
            for scenario, repeat, _, prompts in asked
            for prompt in prompts
        ]
        replies = iter(await ask_all(backend, requests, on_reply, "reports" if progress else None))
        signed = all(p.content.report_format in ("object", "single") for *_, prompts in asked for p in prompts)
        rows = [
            self._row(scenario, repeat, trial, prompts, [next(replies) for _ in prompts], signed)
            for scenario, repeat, trial, prompts in asked
        ]
        return ReportTable.of_rows(
            rows,
            {scenario.id: scenario.predictors for scenario in contexts},
            {"model": backend.info.key, "probe": self.id, "seed": seed, "signed": signed},
        )

    def _shown(self, scenarios: Sequence[DecisionScenario], seed: int) -> dict[str, list[Trial | None]]:
        """Options to show, by scenario: of a stream of their own, so that an equally seeded test differs."""
        shown: dict[str, list[Trial | None]] = {scenario.id: [] for scenario in scenarios}
        if len(shown) < len(scenarios):
            raise ScenarioError("scenarios must have distinct ids, or their reports could not be told apart")
        if self.options == "none":
            return {name: [None] * self.k for name in shown}
        generator = TrialGenerator(n_options=self.n_options, shuffle_attributes=self.shuffle_attributes)
        for scenario, trial in generator.trials(scenarios, self.k, stream(seed, "report", "options")):
            shown[scenario.id].append(trial)
        return shown

    def _sampling_seed(self, seed: int, scenario_id: str, repeat: int) -> int | None:
        if self.temperature == 0:
            return None
        return int(stream(seed, "report", "sampling", scenario_id, repeat).integers(2**31))

    def _row(
        self,
        scenario: DecisionScenario,
        repeat: int,
        trial: Trial | None,
        prompts: Sequence[Prompt],
        replies: Sequence[Reply],
        signed: bool,
    ) -> dict[str, Any]:
        reading = self.style.parse_report([reply.text for reply in replies], [prompt.content for prompt in prompts])
        problems = [reply.reason for reply in replies if reply.reason]
        return {
            "scenario_id": scenario.id,
            "repeat": repeat,
            "status": status_of(replies, reading.status),
            "weights": dict(reading.weights) if signed else reading.magnitudes(),
            "text": [reply.text for reply in replies],
            "problems": [*reading.problems, *problems],
            "shown": trial,
        }
