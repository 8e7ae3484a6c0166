"""A reading: what an answer means. Made by a style's parser, recomputable from the stored text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["PARSER_VERSION", "ChoiceReading", "ReadingStatus", "ReportReading", "merge_readings"]

PARSER_VERSION = 1
"""Raised whenever a parser comes to read any text differently. Part of the identity of every reading."""

ReadingStatus = Literal[
    "answered",  # everything that was asked for is there
    "refused",  # the model declined
    "truncated",  # the text ends in the middle of an answer
    "unparsable",  # no answer, or two that contradict each other
    "missing",  # an answer, but not to everything that was asked
    "out_of_range",  # a number beyond -100..100
    "not_finite",  # NaN or infinite, or a number too large to hold
    "mixed",  # parts of the answer failed in different ways
    "filtered",  # the provider held the answer back: set from the reply, never by a parser
    "failed",  # there was no reply: set from the reply, never by a parser
]
"""What an answer came to: only "answered" is one, the others are counted outcomes."""


@dataclass(frozen=True, slots=True)
class ChoiceReading:
    """What an answer to a choice prompt means.

    Attributes:
        status: "answered", "refused", "truncated" or "unparsable".
        chosen: Index of the option in the order shown (0 is "A"); None unless answered.

    Example:
        >>> ChoiceReading("answered", 1).valid, ChoiceReading("refused").valid
        (True, False)
    """

    status: ReadingStatus
    chosen: int | None = None

    @property
    def valid(self) -> bool:
        """Whether there is an answer to use."""
        return self.status == "answered"


@dataclass(frozen=True, slots=True)
class ReportReading:
    """What the answer, or the answers, to one report mean.

    Attributes:
        status: "answered" where everything asked for is there and in range; else the one way in which it is
            not, or "mixed" where parts failed in different ways.
        weights: Weights by predictor, -100 to 100. Only the valid ones: in a row that is not answered this
            is a part.
        problems: One sentence per thing that is wrong.
        weights_raw: Every number that was understood, those out of range included.
        ranking: Predictors by how heavily they weigh, heaviest first; only for the ranking format.
        comparisons: (heavier, lighter) pairs; only for the comparison format.

    Example:
        >>> reading = ReportReading("answered", {"price": -100.0, "size": 40.0})
        >>> reading.valid, reading.magnitudes()
        (True, {'price': 100.0, 'size': 40.0})
    """

    status: ReadingStatus
    weights: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    weights_raw: Mapping[str, float] = field(default_factory=dict)
    ranking: tuple[str, ...] = ()
    comparisons: tuple[tuple[str, str], ...] = ()

    @property
    def valid(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.status == "answered"

    def magnitudes(self) -> dict[str, float]:
        """How heavily each predictor weighs, 0 to 100, whatever the report's format; empty where nothing was
        read.

        The size of a weight; in a ranking the place, from 100 (heaviest) down in equal steps to 100 / n; in
        comparisons the share of a predictor's comparisons that it won, times 100. Rankings and comparisons
        say nothing about signs, so they fill no `weights`.

        Example:
            >>> ReportReading("answered", ranking=("size", "price")).magnitudes()
            {'size': 100.0, 'price': 50.0}
        """
        if self.ranking:
            n = len(self.ranking)
            return {name: 100.0 * (n - place) / n for place, name in enumerate(self.ranking)}
        if self.comparisons:
            names = dict.fromkeys(name for pair in self.comparisons for name in pair)
            return {
                name: 100.0
                * sum(name == heavier for heavier, _ in self.comparisons)
                / sum(name in pair for pair in self.comparisons)
                for name in names
            }
        return {name: abs(weight) for name, weight in self.weights.items()}


def merge_readings(parts: Sequence[ReportReading], expected: int) -> ReportReading:
    """One reading of a report whose prompts were answered one by one.

    Args:
        parts: The reading of each answer, in the order asked.
        expected: How many prompts there were; answers that are not there are "missing".

    Example:
        >>> parts = [ReportReading("answered", {"price": 3.0}), ReportReading("refused")]
        >>> merged = merge_readings(parts, 2)
        >>> merged.status, dict(merged.weights)
        ('refused', {'price': 3.0})
    """
    if len(parts) == expected == 1:
        return parts[0]
    kinds = {part.status for part in parts}
    problems = [problem for part in parts for problem in part.problems]
    if len(parts) != expected or not parts:
        kinds.add("missing")
        problems.append(f"expected {expected} answers, got {len(parts)}")
    kinds.discard("answered")
    status: ReadingStatus = "answered" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"
    return ReportReading(
        status,
        {name: weight for part in parts for name, weight in part.weights.items()},
        tuple(problems),
        {name: weight for part in parts for name, weight in part.weights_raw.items()},
        tuple(name for part in parts for name in part.ranking),
        tuple(pair for part in parts for pair in part.comparisons),
    )
