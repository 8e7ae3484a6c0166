"""A backend and a domain of your own, held to what the library relies on.

Run: python -m pytest examples/own_suite.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from hypothesis import given, settings

from introspect import Attribute, Capabilities, ChatStyle, DecisionScenario, ModelInfo, ModelRef, Reply, Request
from introspect.decision import TrialGenerator
from introspect.decision.vetting import vet
from introspect.measure.ask import request_of
from introspect.testing import BackendConformance, trials


class Sailor:
    """Always takes the first boat."""

    def __init__(self) -> None:
        self.info = ModelInfo(ref=ModelRef(provider="sailor", model="first-boat", revision="1"))

    async def probe(self) -> Capabilities:
        return Capabilities(answer_logprobs=False)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        for index, _ in enumerate(requests):
            yield index, Reply(status="completed", text="A")

    async def aclose(self) -> None:
        pass


BOATS = DecisionScenario(
    id="boats", chooser="Ines Duarte, who fishes for squid", item="boat", question="Which boat would Ines Duarte buy?",
    attributes=[Attribute(name="keel", unit="metres", low=1, high=4), Attribute(name="berths", low=2, high=9)],
)  # fmt: skip


class TestSailor(BackendConformance):
    """Forty tests."""

    deterministic = True

    def make(self) -> Sailor:
        return Sailor()

    def requests(self) -> list[Request]:
        return [request_of(ChatStyle().choice(s, t)) for s, t in TrialGenerator().trials([BOATS], 4, rng=0)]


@settings(max_examples=20, deadline=None)
@given(trials(BOATS))
def test_every_trial_of_the_domain_is_read_as_it_was_written(trial):
    prompt = ChatStyle().choice(BOATS, trial)
    assert ChatStyle().read(prompt.messages) == prompt.content
    assert vet(BOATS) == ()
