"""A language model drafts scenarios; what it drafts is believed only after every check."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from introspect._notebook import InNotebook, frame_of, short_repr
from introspect._random import RNG, root_seed, stream
from introspect.backend.portal import ask
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Message, Reply, Request
from introspect.decision import DecisionScenario, ScenarioSet, catalogue
from introspect.decision.styles.loose_json import Bare, LooseArray, LooseObject, LooseValue, find_objects
from introspect.decision.styles.refusal import is_refusal, without_thinking
from introspect.decision.vetting import vet, vet_against
from introspect.errors import ConfigError, ScenarioError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Draft", "DraftOutcome", "Drafts", "ScenarioWriter"]

DraftOutcome = Literal[
    "accepted", "duplicate", "unfit", "invalid", "unreadable", "refused", "cut off", "filtered", "failed", "surplus"
]
_FIELDS = ("id", "chooser", "item", "question", "attributes")
_MAX_TEXT = 200_000  # a reply longer than this is no draft of anything


@dataclass(frozen=True)
class Draft:
    """One thing a model wrote when it was asked for a scenario.

    Attributes:
        outcome: accepted; duplicate (shares an item, chooser or attribute name); unfit (see `vet`); invalid (no
            scenario can be made of it); unreadable (no JSON object); refused; cut off; filtered; failed; surplus
            (good, but enough were there).
        reasons: Why, where it was not accepted.
        text: The raw reply it came from.
        scenario: The scenario, where one could be made.
    """

    outcome: DraftOutcome
    reasons: tuple[str, ...]
    text: str
    scenario: DecisionScenario | None = None

    def __repr__(self) -> str:
        return short_repr(self, f"{self.outcome}: {'; '.join(self.reasons) or self.text}")


@dataclass(frozen=True)
class Drafts(InNotebook):
    """All that a `ScenarioWriter` was given.

    Attributes:
        topic: What was asked for.
        wanted: How many were wanted.
        drafts: Every draft, good and bad, in the order of asking.
    """

    topic: str
    wanted: int
    drafts: tuple[Draft, ...]

    @property
    def scenarios(self) -> ScenarioSet:
        """The accepted ones, in the format of the catalogue: `save` them, and read them before you use them."""
        return ScenarioSet(d.scenario for d in self.drafts if d.outcome == "accepted" and d.scenario is not None)

    @property
    def counts(self) -> dict[str, int]:
        """How often each outcome came, the commonest first."""
        return dict(Counter(d.outcome for d in self.drafts).most_common())

    def __repr__(self) -> str:
        return short_repr(self, self.sentences()[0])

    def to_frame(self) -> pd.DataFrame:
        """One row per draft: what became of it, why, and the raw reply."""
        return frame_of(
            {"outcome": d.outcome, "reasons": "; ".join(d.reasons), "text": d.text,
             "scenario_id": None if d.scenario is None else d.scenario.id}
            for d in self.drafts
        )  # fmt: skip

    def sentences(self) -> tuple[str, ...]:
        """What was got, and one line per draft that was not accepted.

        Example:
            >>> Drafts("tea", 2, (Draft("refused", ("it declined",), "I can't."),)).sentences()
            ('0 of 2 scenarios about tea: 1 refused.', 'refused: it declined')
        """
        told = ", ".join(f"{n} {outcome}" for outcome, n in self.counts.items()) or "nothing was asked"
        got = len(self.scenarios)
        lines = [f"{d.outcome}: {'; '.join(d.reasons)}" for d in self.drafts if d.outcome != "accepted"]
        return (f"{got} of {self.wanted} scenarios about {self.topic}: {told}.", *lines)


@dataclass(frozen=True)
class ScenarioWriter:
    """Asks a model for scenarios about a topic, and keeps those that pass every check of the shipped catalogue.

    Nothing is mended: a draft with a bad range is counted as bad, since a mended one would be ours and not checked by
    its author. Read what was accepted before a study uses it; no check knows whether a price is plausible.

    Args:
        backend: Who writes.
        n_attributes: How many attributes each scenario must have.
        known: What drafts must share nothing with; the shipped catalogue if None.
        rounds: How often to ask again for what is still missing.
        temperature: 1 by default: at 0 every draft of a round would be the same.
        max_tokens: Cap of each reply.

    Raises:
        ConfigError: A setting is out of range.

    Example:
        >>> from introspect.backend import FunctionBackend
        >>> def write(request):
        ...     return '''{"chooser": "Ana Lopes, a beekeeper", "item": "smoker",
        ...         "question": "Which smoker would Ana Lopes light?",
        ...         "attributes": [{"name": "bellows volume", "unit": "litres", "low": 0.5, "high": 3},
        ...                        {"name": "burning minutes", "unit": "minutes", "low": 10, "high": 90}]}'''
        >>> author = FunctionBackend(write, name="author", version="1")
        >>> drafts = ScenarioWriter(author, n_attributes=2, rounds=1).write("beekeeping", n=2, rng=0)
        >>> drafts.scenarios.ids, drafts.counts
        (('smoker',), {'accepted': 1, 'duplicate': 1})
    """

    backend: ModelBackend
    n_attributes: int = 5
    known: Iterable[DecisionScenario] | None = None
    rounds: int = 3
    temperature: float = 1.0
    max_tokens: int = 1500

    def __post_init__(self) -> None:
        if not 2 <= self.n_attributes <= 10:
            raise ConfigError(f"n_attributes must be 2 to 10, got {self.n_attributes}")
        if self.rounds < 1:
            raise ConfigError(f"rounds must be 1 or more, got {self.rounds}")
        if self.max_tokens < 1 or not self.temperature >= 0:
            raise ConfigError("max_tokens must be 1 or more and temperature 0 or more")
        object.__setattr__(self, "known", tuple(catalogue() if self.known is None else self.known))

    def write(self, topic: str, n: int = 10, *, rng: RNG) -> Drafts:
        """Ask for `n` scenarios about a topic, and again for as many as are missing, at most `rounds` times.

        Args:
            topic: What they should be about, in one line.
            n: How many are wanted; fewer may come.
            rng: Seed of the sampling.

        Raises:
            ConfigError: The topic is empty or has several lines, or n is below 1.
            FatalBackendError: An error that dooms all further calls.
        """
        topic = topic.strip()
        if not topic or len(topic.splitlines()) > 1 or len(topic) > 200:
            raise ConfigError(f"the topic must be one line of 1 to 200 characters, got {topic[:60]!r}")
        if n < 1:
            raise ConfigError(f"n must be 1 or more, got {n}")
        root, drafts, accepted = root_seed(rng), list[Draft](), list[DecisionScenario]()
        for round_ in range(self.rounds):
            missing = n - len(accepted)
            if not missing:
                break
            requests = [self._request(topic, accepted, root, round_, k) for k in range(missing)]
            for reply in ask(self.backend, requests):
                for draft in self._drafts(reply, topic, accepted):
                    scenario = draft.scenario if draft.outcome == "accepted" else None
                    if scenario is not None and len(accepted) == n:
                        draft = Draft("surplus", (f"{n} were there already",), draft.text, scenario)
                    elif scenario is not None:
                        accepted.append(scenario)
                    drafts.append(draft)
        return Drafts(topic, n, tuple(drafts))

    def _request(self, topic: str, accepted: list[DecisionScenario], root: int, round_: int, k: int) -> Request:
        return Request(
            messages=(Message(role="user", content=_prompt(topic, self.n_attributes, accepted)),),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=int(stream(root, "draft", round_, k).integers(2**31)) if self.temperature else None,
            sample_index=k,
        )

    def _drafts(self, reply: Reply, topic: str, accepted: list[DecisionScenario]) -> Iterator[Draft]:
        text = reply.text
        bad: DraftOutcome | None = {"failed": "failed", "filtered": "filtered"}.get(reply.status)  # type: ignore[assignment]
        if bad is not None:
            yield Draft(bad, (reply.reason or "no reason was given",), text)
            return
        answer = without_thinking(text[:_MAX_TEXT])
        found = find_objects(answer) if answer is not None else None
        rows = list(_rows(found.values)) if found is not None else []
        if not rows:
            yield self._nothing(reply, answer, found is not None and found.cut)
        for row in rows:
            yield self._judged(row, topic, accepted, text)

    def _nothing(self, reply: Reply, answer: str | None, cut: bool) -> Draft:
        if answer is None or reply.status == "truncated" or cut:
            return Draft("cut off", (f"the reply ends before a scenario does ({self.max_tokens} tokens)",), reply.text)
        if is_refusal(answer):
            return Draft("refused", ("it declined",), reply.text)
        return Draft("unreadable", ("no JSON object with attributes was found",), reply.text)

    def _judged(self, row: Any, topic: str, accepted: list[DecisionScenario], text: str) -> Draft:
        try:
            scenario = self._scenario(row, topic, accepted)
        except (ScenarioError, RecursionError) as error:
            return Draft("invalid", (str(error),), text)
        if scenario.n_attributes != self.n_attributes:
            said = f"it has {scenario.n_attributes} attributes, {self.n_attributes} were asked for"
            return Draft("invalid", (said,), text, scenario)
        problems = vet(scenario)
        if problems:
            return Draft("unfit", problems, text, scenario)
        shared = vet_against(scenario, [*(self.known or ()), *accepted])
        if shared:
            return Draft("duplicate", shared, text, scenario)
        return Draft("accepted", (), text, scenario)

    def _scenario(self, row: Any, topic: str, accepted: list[DecisionScenario]) -> DecisionScenario:
        if not isinstance(row, dict):
            raise ScenarioError(f"expected an object, got {row!r:.60}")
        fields = {key: value for key, value in row.items() if key in _FIELDS}
        taken = {s.id for s in (*(self.known or ()), *accepted)}
        fields["id"] = _free(_slug(str(row.get("item", ""))), taken)
        made = DecisionScenario.model_validate(fields)
        tags = (f"topic:{topic}", f"attributes:{made.n_attributes}", "drafted")
        return DecisionScenario.model_validate({**made.model_dump(exclude_unset=True), "tags": tags})


def _prompt(topic: str, n_attributes: int, accepted: list[DecisionScenario]) -> str:
    used = sorted({a.name for s in accepted for a in s.attributes} | {s.item for s in accepted})
    avoid = f"\nThese are taken, so use others: {', '.join(used[:120])}." if used else ""
    return (
        f"Invent one choice that an invented person faces. Topic: {topic}.\n\n"
        f"Write one JSON object with these keys:\n"
        f'- "chooser": a full name that belongs to nobody famous, and in a few words who that is;\n'
        f'- "item": what is chosen, as a noun in the singular;\n'
        f'- "question": "Which ... would ... ?", naming the chooser;\n'
        f'- "attributes": a list of exactly {n_attributes}. Each is an object with "name", "unit", "low" and "high" '
        f"(numbers, the plausible range) and, where values come in steps, "
        f'"step"; or with "name" and "levels", a list of two to five words from least to most.\n\n'
        f"Options will differ in all attributes independently. So no attribute may follow from another, every value "
        f"from low to high must make sense, and no name may say which end is the good one. Give each attribute "
        f'a name of its own that would not fit another choice (not just "price"), and a real unit without numbers in '
        f'it ("" for plain counts). Write nothing but the object.{avoid}'
    )


def _rows(values: Iterable[LooseValue]) -> Iterator[Any]:
    """What may be meant as a scenario: objects with attributes, also inside lists and under "scenarios"."""
    for value in values:
        plain = _plain(value)
        for one in plain if isinstance(plain, list) else [plain]:
            inner = one.get("scenarios", one.get("scenario")) if isinstance(one, dict) else None
            if isinstance(inner, list):
                yield from (row for row in inner if isinstance(row, dict))
            elif isinstance(inner, dict):
                yield inner
            elif isinstance(one, dict) and "attributes" in one:
                yield one


def _plain(value: LooseValue) -> Any:
    if isinstance(value, LooseObject):
        keys = [key for key, _ in value.pairs]
        return {key: _plain(inner) if keys.count(key) == 1 else _Twice() for key, inner in value.pairs}
    if isinstance(value, LooseArray):
        return [_plain(inner) for inner in value.items]
    if isinstance(value, Bare):
        try:
            return json.loads(value.text)
        except ValueError:
            return value.text
    return value


class _Twice:
    """Stands for a key that was given two values, of which neither can be believed."""

    def __repr__(self) -> str:
        return "two values"


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "draft"


def _free(slug: str, taken: set[str]) -> str:
    return next(name for name in (slug, *(f"{slug}-{k}" for k in range(2, 10**6))) if name not in taken)
