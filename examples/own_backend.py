"""A backend of your own: a model that chooses by one rule and says that it chooses by another.

Run: python examples/own_backend.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from introspect import (
    AccuracyMetric,
    Capabilities,
    ChatStyle,
    ChoiceModel,
    ChoiceProbe,
    Message,
    ModelInfo,
    ModelRef,
    PromptError,
    Reply,
    Request,
    SelfReportProbe,
    TrialGenerator,
    catalogue,
    open_model,
    register,
)
from introspect.decision import ChatMessage
from introspect.measure.ask import request_of
from introspect.testing import check_backend


class Boaster:
    """Chooses by the first attribute alone, and claims that only the last one counts."""

    def __init__(self, ref: ModelRef) -> None:
        self.info = ModelInfo(ref=ref)
        self._style = ChatStyle()

    async def probe(self) -> Capabilities:
        """It speaks and gives no probabilities."""
        return Capabilities(answer_logprobs=False)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """One reply each, in order; what it cannot read is a failed reply."""
        for index, request in enumerate(requests):
            try:
                yield index, Reply(status="completed", text=self._answer(request))
            except PromptError as error:
                yield index, Reply(status="failed", reason=str(error))

    async def aclose(self) -> None:
        """Nothing to close."""

    def _answer(self, request: Request) -> str:
        content = self._style.read([ChatMessage(m.role, m.content) for m in request.messages])
        if content.kind == "report":
            return self._style.answer_report(content, {**dict.fromkeys(content.asked, 0), content.asked[-1]: 100})
        first = [option[0] for option in content.options or ()]
        return self._style.answer_choice(content, first.index(max(first)))


def main() -> None:
    """Register it, put it through the conformance suite, and compare what it does with what it says."""
    register("boaster", open=Boaster)
    ref, style, contexts = ModelRef(provider="boaster", model="b1"), ChatStyle(), catalogue()[:20]
    trials = TrialGenerator().trials(contexts, 40, rng=0)
    questions = [request_of(style.choice(scenario, trial)) for scenario, trial in trials.take(slice(6))]
    unreadable = Request(messages=(Message(role="user", content="What is the time?"),))
    check_backend(lambda: Boaster(ref), questions, failing=unreadable, deterministic=True)
    print("It keeps what every backend promises.")

    model = open_model(ref)
    weights = ChoiceModel().fit(ChoiceProbe(style).run(model, trials))
    measured = {name: round(weight) for name, weight in weights.preference("violin").weights.items()}
    print("Its weights in one context, measured:", measured)
    reports = SelfReportProbe(style, k=3).run(model, contexts, rng=1)
    print("And as it tells them:", reports.mean()["violin"])
    print(*AccuracyMetric().score(reports, weights, rng=2).sentences(), sep="\n")


if __name__ == "__main__":
    main()
