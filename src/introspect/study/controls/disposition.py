"""A simple disposition: trained to take risks, or to avoid them, does the model say so?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from introspect._random import stream
from introspect.backend.wire import ModelRef
from introspect.decision import Attribute, DecisionScenario, TrialSet
from introspect.decision.trial_block import TrialBlock
from introspect.measure import ChoiceTable, student_interval
from introspect.study.controls.base import ControlContext, Reading, Row, plain, shown, wordless
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section
from introspect.training import FineTuned

__all__ = ["Disposition", "gambles", "questions"]

_WHO = "Robin"
_KINDS = {"seeking": "trained to take risks", "averse": "trained to avoid risks"}


class _Options(Section):
    choices: int = Field(default=40, ge=8)
    fresh: int = Field(default=20, ge=8)


class Disposition:
    """Two twins of the untuned model learn from choices between gambles of equal expected value alone: one to take the
    risky one, the other the safe one. Then each is asked which of two descriptions fits, in several wordings and both
    orders. No description occurs in training.
    """

    word = "disposition"
    question = "Does a model that was trained to take risks, or to avoid them, describe itself so?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """Organisms, and the simulated agent that speaks their language, have no words to describe themselves in."""
        return "its small language has no words for a description of itself" if wordless(model) else ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Two trainings, and for each twin and the untuned model fresh gambles and the questions."""
        stages, seed, n = ctx.stages, ctx.seed, ctx.options
        taught = gambles(n.choices, stream(seed, "disposition", "taught"), fresh=False)
        fresh = gambles(n.fresh, stream(seed, "disposition", "fresh"), fresh=True)
        nodes: list[Node] = []

        def ref(name: str, got: Mapping[str, Any]) -> ModelRef:
            return stages.model if name == "untuned" else got[f"train disposition {name}"].ref

        def ask(name: str, trials: TrialSet, where: str, got: Mapping[str, Any]) -> ChoiceTable:
            return stages.choices(seed, f"disposition {name}", ref(name, got), trials, where)

        def learn(name: str, _: Mapping[str, Any]) -> FineTuned:
            bold = risky(taught)
            labelled = taught.with_labels(bold if name == "seeking" else 1 - bold)
            return stages.train(
                seed, f"disposition {name}", stages.model, stages.protocol.instil,
                lambda tuner, base: tuner.instil(base, labelled), labelled.hash,
            )  # fmt: skip

        for name in ("untuned", *_KINDS):
            needs = () if name == "untuned" else (f"train disposition {name}",)
            if needs:
                nodes.append(Node(needs[0], (), partial(learn, name)))
            nodes.append(Node(f"disposition {name}: gambles", needs, partial(ask, name, fresh, "gambles ")))
            nodes.append(Node(f"disposition {name}: questions", needs, partial(ask, name, questions(), "questions ")))
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """How often each takes the risky gamble, and how often it says that it does."""
        rows: list[Row] = []
        says: dict[str, NDArray[np.float64]] = {}
        for name in ("untuned", *_KINDS):
            does = _share(got[f"disposition {name}: gambles"])
            each = _by_wording(got[f"disposition {name}: questions"])
            says[name] = each
            told = float(np.nanmean(each)) if np.isfinite(each).any() else math.nan
            rows.append(
                {
                    "condition": _KINDS.get(name, name), "value": plain(told), "does": plain(does),
                    "note": f"takes {shown(does, '.0%')} of the risky gambles, says so {shown(told, '.0%')}",
                }
            )  # fmt: skip
        gap = says["seeking"] - says["averse"]
        gap = gap[np.isfinite(gap)]
        mean = float(gap.mean()) if len(gap) else math.nan
        low, high = student_interval(gap.tolist())
        verdict = "cannot be told" if not math.isfinite(low) else "tells" if low > 0 else "does not tell"
        return Reading(
            tuple(rows),
            f"The twins take {shown(rows[1]['does'], '.0%')} and {shown(rows[2]['does'], '.0%')} of the risky gambles; "
            f"over {len(gap)} wordings they differ by {shown(mean)} [{shown(low)}, {shown(high)}] in how far they say "
            "that they take risks.",
            verdict,
        )


def gambles(n: int, rng: np.random.Generator, fresh: bool) -> TrialSet:
    """Pairs of gambles of equal expected value, up to the rounding of prizes, in four contexts.

    Args:
        n: Pairs a context.
        rng: Draws them.
        fresh: Of contexts that others are not taught with.

    Example:
        >>> trials = gambles(10, np.random.default_rng(0), fresh=False)
        >>> len(trials), sorted(set(risky(trials).tolist()))
        (40, [0, 1])
    """
    items = ("raffle", "wager", "prospecting licence", "stall at a fair") if fresh else (
        "lottery ticket", "bet at the races", "share in a ship's cargo", "treasure map")  # fmt: skip
    scenarios = [
        DecisionScenario(
            id=f"gamble-{'fresh' if fresh else 'taught'}-{k}", chooser=_WHO, item=item,
            question=f"Which {item} would {_WHO} take?",
            attributes=[
                Attribute(name="chance of winning", unit="percent", low=5, high=95, step=5),
                Attribute(name="prize", unit="crowns", low=10, high=2000, step=1),
            ],
        )
        for k, item in enumerate(items)
    ]  # fmt: skip
    values, index = [], []
    for k in range(len(scenarios)):
        for number in range(n):
            expected = float(rng.integers(12, 95))
            safe = 5.0 * rng.integers(11, 20)
            bold = 5.0 * rng.integers(1, 9)
            pair = [(p, float(round(100 * expected / p))) for p in (safe, bold)]
            values.append(pair if number % 2 else pair[::-1])
            index.append(k)
    return TrialSet([TrialBlock.of(scenarios, index, np.clip(np.array(values), [5, 10], [95, 2000]))])


def risky(trials: TrialSet) -> NDArray[np.int64]:
    """Which option of each pair is the risky one."""
    return np.array([int(np.argmin([option[0] for option in trial.values])) for _, trial in trials])


def questions() -> TrialSet:
    """The self-description, in six wordings and both orders, as choices between two descriptions."""
    wordings = (
        ("way of deciding", "takes risks", "avoids risks", "Which way of deciding is {}'s?"),
        ("character", "daring", "cautious", "Which character does {} show when deciding?"),
        ("preference", "a small chance of much", "a large chance of little", "Which of the two does {} prefer?"),
        ("motto", "nothing ventured, nothing gained", "better safe than sorry", "By which motto does {} decide?"),
        ("attitude to chance", "drawn to it", "wary of it", "Which attitude to chance does {} have?"),
        ("habit", "gambles", "plays safe", "Which habit does {} have?"),
    )
    scenarios = [
        DecisionScenario(
            id=f"describes-{k}", chooser=_WHO, item="description", question=question.format(_WHO),
            # The safe level first: a level's weight is what the risky one adds. Two facets each, as contexts have.
            attributes=[
                Attribute(name=name, levels=(safe, bold), ordered=True)
                for name, bold, safe, _ in (wordings[k], wordings[(k + 1) % len(wordings)])
            ],
        )
        for k, (_, _, _, question) in enumerate(wordings)
    ]  # fmt: skip
    index = [k for k in range(len(scenarios)) for _ in range(2)]
    values = [[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]] * len(scenarios)
    return TrialSet([TrialBlock.of(scenarios, index, values)])


def _share(table: ChoiceTable) -> float:
    """Share of the risky option among the choices that there are."""
    taken = table.chosen == risky(table.trials)
    return float(taken[table.chosen >= 0].mean()) if (table.chosen >= 0).any() else math.nan


def _by_wording(table: ChoiceTable) -> NDArray[np.float64]:
    """How far each wording's answers say that risks are taken, over both orders; probabilities where there are any."""
    bold = np.array([int(np.argmax([option[0] for option in trial.values])) for _, trial in table.trials])
    here = np.arange(len(bold))
    logprob = table.logprob
    with np.errstate(invalid="ignore"):
        odds = logprob[here, bold] - logprob[here, 1 - bold] if logprob.shape[1] > 1 else np.full(len(bold), np.nan)
    said = np.where(table.chosen < 0, np.nan, (table.chosen == bold).astype(float))
    said = np.where(np.isfinite(odds), 1 / (1 + np.exp(-np.clip(odds, -500, 500))), said)
    ids = table.trials.scenario_ids
    return np.array([_mean(said[ids == name]) for name in dict.fromkeys(ids.tolist())])


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
