"""Asks a model to choose, and lets its answers decide what to ask next."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from introspect._notebook import InNotebook, frame_of, short_repr
from introspect._random import RNG, root_seed
from introspect.backend.portal import run_sync
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Reply
from introspect.decision.designs.proposal import Posterior, Proposer
from introspect.decision.generator import TrialGenerator
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.ask import OnReply
from introspect.measure.choice_model import ChoiceModel
from introspect.measure.choice_probe import ChoiceProbe
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.learned_weights import LearnedWeights

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AdaptiveProbe", "AdaptiveRun"]

Floats = NDArray[np.float64]
T = TypeVar("T")

_Rounds = Generator[TrialSet, ChoiceTable, "AdaptiveRun"]


@dataclass(frozen=True)
class AdaptiveRun(InNotebook):
    """What an adaptive measurement asked, and how it closed in.

    Attributes:
        choices: All trials with the model's choices; within a scenario in the order asked.
        weights: Fitted to them.
        n_trials: Trials shown of each scenario after each round, [rounds, C]; scenarios as in `weights`.
        width: Width of the widest 95 % interval of a scenario's normalised weights (largest magnitude 100) after
            each round, [rounds, C]; NaN before it is known. Only computed for rounds in which it was needed, and
            for the last.
    """

    choices: ChoiceTable
    weights: LearnedWeights
    n_trials: NDArray[np.int64]
    width: Floats

    def __repr__(self) -> str:
        return short_repr(self, self.sentences()[0])

    def to_frame(self) -> pd.DataFrame:
        """One row per round and scenario: trials shown so far, and the widest interval where it was computed."""
        return frame_of(
            {"round": k + 1, "scenario_id": name, "n_trials": int(shown), "width": float(width)}
            for k, row in enumerate(zip(self.n_trials, self.width, strict=True))
            for name, shown, width in zip(self.weights.scenario_ids, *row, strict=True)
        )

    def sentences(self) -> list[str]:
        """How the intervals narrowed, in words."""
        lines = [f"{len(self.choices)} trials in {len(self.weights)} scenarios, in {len(self.n_trials)} rounds."]
        for asked, width in zip(self.n_trials, self.width, strict=True):
            if np.isfinite(width).any():
                lines.append(
                    f"After {asked.mean():.1f} trials a scenario: widest 95 % interval {np.nanmedian(width):.0f} on "
                    "the scale of +-100 (median over scenarios)."
                )
        return lines


@dataclass(frozen=True)
class AdaptiveProbe:
    """Measures weights with fewer trials: after a D-optimal start, each batch is chosen for what its answers would
    tell, given the answers so far ("bald"; see `introspect.decision.designs.bald`).

    The trials depend on the seed and on the answers alone, so a run that was cut off repeats itself from cached
    replies and goes on. The rounds are one after the other; within a round all scenarios are asked together.

    Attributes:
        probe: How a backend is asked; not needed for `run_with`.
        model: Fitted to the choices after each round.
        n_start: Trials per scenario drawn ahead; at least as many as the scenario has weights is wise.
        batch: Trials per scenario in each later round. 10 costs little precision.
        rounds: How many later rounds, instead of `batch`; two or three get most of the saving, which suits backends
            that answer many requests at a time.
        n_candidates: Fresh candidates that each batch is chosen from.
        stop_width: A scenario is asked no further once the widest 95 % interval of its normalised weights (largest
            magnitude 100) is narrower. None: all are asked n trials.
        generator: Draws the start; its options, sides and listing orders hold for all trials.

    Raises:
        MeasureError: A setting is out of range.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=100) for n in "pqrst"]
        >>> k = DecisionScenario(id="k1", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> wish = np.array([100.0, -60.0, 30.0, 0.0, -10.0])
        >>> def choose(trials):
        ...     return (trials.differences(trials.blocks[0]) @ wish < 0).astype(int)
        >>> run = AdaptiveProbe().run_with(choose, [k], n=30, rng=0)
        >>> len(run.choices), bool(np.corrcoef(run.weights.coef[0], wish)[0, 1] > 0.98)
        (30, True)
    """

    probe: ChoiceProbe | None = None
    model: ChoiceModel = field(default_factory=ChoiceModel)
    n_start: int = 10
    batch: int = 5
    rounds: int | None = None
    n_candidates: int = 200
    stop_width: float | None = None
    generator: TrialGenerator = field(default_factory=lambda: TrialGenerator(design="d-optimal"))

    def __post_init__(self) -> None:
        if self.probe is not None and not isinstance(self.probe, ChoiceProbe):
            raise MeasureError(
                f"AdaptiveProbe takes a ChoiceProbe, got {type(self.probe).__name__}. Write "
                "AdaptiveProbe(ChoiceProbe(style))"
            )
        for name, least in (("n_start", 1), ("batch", 1), ("n_candidates", 24)):
            if getattr(self, name) < least:
                raise MeasureError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if self.rounds is not None and self.rounds < 1:
            raise MeasureError(f"rounds must be 1 or more, or None to use batch, got {self.rounds}")
        if self.stop_width is not None and not self.stop_width > 0:
            raise MeasureError(f"stop_width must be positive, on the scale of +-100, got {self.stop_width}")
        if self.generator.audit_share or self.generator.close_share or self.generator.max_dominated is not None:
            raise MeasureError(
                "an adaptive design chooses by the answers and keeps no audit_share, close_share or max_dominated; ask "
                "those trials apart"
            )

    def run(
        self,
        backend: ModelBackend,
        scenarios: Sequence[DecisionScenario],
        n: int,
        rng: RNG,
        on_reply: OnReply | None = None,
    ) -> AdaptiveRun:
        """Ask a model and wait. Works where an event loop is already running, as in a notebook.

        Args:
            backend: Who is asked.
            scenarios: Distinct ids.
            n: Trials per scenario (at most, with `stop_width`).
            rng: Seed of the trials.
            on_reply: Called with (how many replies came before, reply) as replies arrive, from another thread.

        Raises:
            MeasureError: The probe has no `ChoiceProbe`, or n is below `n_start`.
            ScenarioError: A scenario's grid cannot give n distinct trials.
            FatalBackendError: An error that dooms all further calls.
        """
        return run_sync(self.arun, backend, scenarios, n, rng, on_reply)

    async def arun(
        self,
        backend: ModelBackend,
        scenarios: Sequence[DecisionScenario],
        n: int,
        rng: RNG,
        on_reply: OnReply | None = None,
    ) -> AdaptiveRun:
        """The asynchronous twin of `run`; the loop is free while weights are fitted."""
        from anyio.to_thread import run_sync as in_thread

        if self.probe is None:
            raise MeasureError("AdaptiveProbe(probe=ChoiceProbe(style)) says how to ask; run_with needs none")
        count = iter(range(10**12))

        def tell(_index: int, reply: Reply) -> None:
            if on_reply is not None:
                on_reply(next(count), reply)

        rounds = self._rounds(scenarios, n, rng)
        asked, done = await in_thread(_advance, rounds, None)
        while done is None:
            table = await self.probe.arun(backend, asked, tell)
            asked, done = await in_thread(_advance, rounds, table)
        return done

    def run_with(
        self, choose: Callable[[TrialSet], ArrayLike], scenarios: Sequence[DecisionScenario], n: int, rng: RNG
    ) -> AdaptiveRun:
        """Measure anything that chooses, without a backend: people, a simulation, a log.

        Args:
            choose: From trials to the options chosen, 0 for the first shown, -1 for none.
            scenarios: Distinct ids.
            n: Trials per scenario (at most, with `stop_width`).
            rng: Seed of the trials.

        Raises:
            MeasureError: n is below `n_start`, or `choose` returns something else.
            ScenarioError: A scenario's grid cannot give n distinct trials.
        """
        rounds = self._rounds(scenarios, n, rng)
        asked, done = _advance(rounds, None)
        while done is None:
            asked, done = _advance(rounds, ChoiceTable.from_choices(asked, choose(asked)))
        return done

    def _rounds(self, scenarios: Sequence[DecisionScenario], n: int, rng: RNG) -> _Rounds:
        todo = list(scenarios)
        if n < self.n_start or not todo:
            raise MeasureError(
                f"an adaptive design needs scenarios and n of at least n_start={self.n_start}, got n={n}"
            )
        root = root_seed(rng)
        size = self.batch if self.rounds is None else max(1, math.ceil((n - self.n_start) / self.rounds))
        proposer = Proposer(todo, self.generator, self.n_candidates, root)
        trials = proposer.start(self.n_start)
        ids = [scenario.id for scenario in trials.scenarios]
        tables = [(yield trials)]
        shown, asking = np.full(len(ids), self.n_start), np.ones(len(ids), dtype=np.bool_)
        history, widths = [], []
        while True:
            choices = ChoiceTable.concat(tables)
            weights = self.model.fit(choices)
            left = n - int(shown[asking][0])  # whoever is still asked was asked every time
            last = left == 0
            width = np.full(len(ids), np.nan)
            if last or self.stop_width is not None:
                width = _widths(weights, root, ids)
                if self.stop_width is not None:
                    asking &= ~(width < self.stop_width)
                    last = last or not asking.any()
            history.append(shown.copy())
            widths.append(width)
            if last:
                return AdaptiveRun(choices, weights.select(ids), np.array(history), np.array(widths))
            k = min(size, left)
            posteriors = {
                name: _posterior(weights, name, self.generator.n_options)
                for name, go_on in zip(ids, asking, strict=True)
                if go_on
            }
            tables.append((yield proposer.propose(posteriors, k)))
            shown = shown + k * asking


def _advance(rounds: _Rounds, table: ChoiceTable | None) -> tuple[TrialSet, AdaptiveRun | None]:
    """The next trials to ask, or what came of all of them."""
    try:
        return (next(rounds) if table is None else rounds.send(table)), None
    except StopIteration as end:
        return TrialSet(), end.value


def _posterior(weights: LearnedWeights, name: str, n_options: int) -> Posterior:
    i = weights.index(name)
    coef, intercept, cov = weights.coef[i], weights.intercept[i], weights.cov[i]
    mean = np.concatenate([coef, intercept])
    prior_sd = np.concatenate([np.full(len(coef), weights.tau), np.full(len(intercept), weights.intercept_sd)])
    missing = len(coef) + n_options - 1 - len(mean)
    if missing:  # a model without intercepts is sure that there is no liking for a side
        mean, prior_sd = np.append(mean, np.zeros(missing)), np.append(prior_sd, np.full(missing, 1e-3))
        cov = np.block([[cov, np.zeros((len(cov), missing))], [np.zeros((missing, len(cov))), 1e-6 * np.eye(missing)]])
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        # Nothing usable was fitted: back to the design that needs no weights.
        mean, cov = np.zeros_like(mean), np.diag(prior_sd**2)
    return Posterior(mean, cov, prior_sd, graded=bool(weights.graded and weights.graded[i]))


def _widths(weights: LearnedWeights, root: int, ids: Sequence[str]) -> Floats:
    known = [name for name in ids if np.isfinite(weights.cov[weights.index(name)]).all()]
    ends = weights.select(known).intervals(root, n=1000) if known else {}
    return np.array([float((ends[name][:, 1] - ends[name][:, 0]).max()) if name in ends else np.nan for name in ids])
