"""A backend that stops before it costs too much."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect.backend.failures import Failure
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import ModelRef, Reply, Request
from introspect.backend.wrapping import Wrapper
from introspect.errors import BudgetError, ConfigError

if TYPE_CHECKING:
    import asyncio

__all__ = ["Budget", "Budgeted", "Price", "load_prices"]

_MILLION = 1_000_000
_PER_MESSAGE = 16  # tokens that a chat template may add to a message
_TEMPLATE = 64  # and to a conversation


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in the currency of the budget.

    Attributes:
        input: Tokens of prompts.
        output: Tokens of answers, reasoning included.
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        if not (self.input >= 0 and self.output >= 0):
            raise ConfigError(f"a price must be 0 or more per million tokens, got {self.input} and {self.output}")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost.

        Example:
            >>> Price(input=0.15, output=0.60).cost(2_000_000, 500_000)
            0.6
        """
        return (self.input * prompt_tokens + self.output * completion_tokens) / _MILLION


def load_prices(path: Path | str) -> dict[str, Price]:
    """A price table in YAML or JSON: ``{model: {input: 0.15, output: 0.60}}``, per million tokens.

    Raises:
        ConfigError: The file cannot be read, or an entry is no price.
    """
    from introspect._yaml import load_yaml_file

    table = load_yaml_file(path, "the price table")
    if not isinstance(table, dict):
        raise ConfigError(f"the price table {path} must map model names to prices, got a {type(table).__name__}")
    prices = {}
    for model, entry in table.items():
        sides = [entry.get(side) if isinstance(entry, dict) else None for side in ("input", "output")]
        numbers = [float(side) for side in sides if isinstance(side, int | float) and not isinstance(side, bool)]
        if len(numbers) < 2:
            raise ConfigError(f"the price of {model!r} in {path} must be like {{input: 0.15, output: 0.60}}")
        prices[str(model)] = Price(*numbers)
    return prices


@dataclass
class Budget:
    """What may be spent, and what was.

    One budget may be shared by several backends.

    Attributes:
        cap: The most to spend; None counts without stopping.
        prices: By model name as the server knows it; ``*`` stands for anything in it. The first that fits is taken.
            Models that are not in it are looked up in the package ``genai-prices``, where that is installed.
        spent: In the currency of the prices, what was spent before included.
        unpriced_calls: Calls whose price is not known; they are in no sum.
        estimated_calls: Calls that are counted at the most they can have cost, since the server did not say, or the
            connection was lost after the request had gone out.
    """

    cap: float | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)
    spent: float = 0.0
    unpriced_calls: int = 0
    estimated_calls: int = 0

    def __post_init__(self) -> None:
        if self.cap is not None and not self.cap >= 0:
            raise ConfigError(f"the cap of a budget must be 0 or more, got {self.cap}")

    def price_of(self, model: str) -> Price | None:
        """The price of a model, or None where it is not known. Never 0 for not known.

        Example:
            >>> budget = Budget(prices={"ft:gpt-4o-mini*": Price(0.3, 1.2)})
            >>> budget.price_of("ft:gpt-4o-mini:mine"), budget.price_of("no-such-model")
            (Price(input=0.3, output=1.2), None)
        """
        for pattern, price in self.prices.items():
            if model == pattern or fnmatchcase(model, pattern):
                return price
        return _package_price(model)


class Budgeted(Wrapper):
    """A backend around a backend that counts what is spent, and stops *before* the call that could break the cap.

    A call is let out only if what was spent, the most that calls under way can still cost, and the most that it can
    cost itself stay within the cap. The most is the prompt at one token a byte and the answer at its longest; what the
    server says it used replaces it when the reply is there. A refused call costs nothing; one whose connection was lost
    after it had gone out may have been charged, and is counted at its most.

    Args:
        backend: Who is asked.
        budget: What may be spent.

    Raises:
        BudgetError: There is a cap, and no price of this model.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, Usage, ask
        >>> model = FunctionBackend(
        ...     lambda request: Reply(status="completed", text="A", usage=Usage(prompt_tokens=10, completion_tokens=1)),
        ...     name="a", version="1")
        >>> budget = Budget(cap=1.0, prices={"a": Price(input=1000, output=1000)})
        >>> _ = ask(Budgeted(model, budget), [Request(messages=(Message(role="user", content="A or B?"),))])
        >>> budget.spent
        0.011
    """

    def __init__(self, backend: ModelBackend, budget: Budget) -> None:
        super().__init__(backend)
        self.budget = budget
        name = _served_name(backend.info.ref)
        self._price = budget.price_of(name)
        self._reserved = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        if budget.cap is not None and self._price is None:
            raise BudgetError(
                f"the budget has a cap of {budget.cap:g}, but nobody knows what {name!r} costs. Add it to the prices "
                f"(per million tokens), install genai-prices, or leave the cap out"
            )

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        """The inner backend's replies.

        Raises:
            BudgetError: This call could break the cap. It was not made.
        """
        if self._price is None:
            replies = await self.ask_inner(asked)
            self.budget.unpriced_calls += 1
            return replies
        most = self._price.cost(*_most(asked))
        await self._reserve(most)
        try:
            replies = await self.ask_inner(asked)
        except BaseException:
            # Cancelled, or doomed: what had gone out may be charged.
            self._settle(most, most)
            raise
        self._settle(most, self._cost(asked, replies, most))
        return replies

    async def _reserve(self, most: float) -> None:
        budget = self.budget
        while budget.cap is not None and budget.spent + self._reserved + most > budget.cap:
            if self._reserved == 0.0:
                raise BudgetError(
                    f"the budget is used up: {budget.spent:.6g} of {budget.cap:g} is spent, and the next call could "
                    f"cost {most:.3g}. Replies so far are kept; raise the cap to go on"
                )
            import asyncio

            # Calls under way will cost less than they may: look again when one is back.
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._reserved += most

    def _settle(self, most: float, cost: float) -> None:
        self._reserved -= most
        if self._reserved < 1e-12:
            self._reserved = 0.0  # sums of floats need not end where they began
        self.budget.spent += cost
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _cost(self, asked: Sequence[Request], replies: Sequence[Reply], most: float) -> float:
        assert self._price is not None
        if all(reply.status == "failed" for reply in replies):
            failures = [Failure.of(reply) for reply in replies]
            if all(failure is not None and not failure.charged for failure in failures):
                return 0.0
        counts = [(reply.usage.prompt_tokens, reply.usage.completion_tokens) for reply in replies]
        known = [(p, c) for p, c in counts if p is not None and c is not None]
        if len(known) < len(counts):
            self.budget.estimated_calls += 1
            return most
        return self._price.cost(sum(p for p, _ in known), sum(c for _, c in known))


def _served_name(ref: ModelRef) -> str:
    return ref.adapter or ref.model


def _most(asked: Sequence[Request]) -> tuple[int, int]:
    """Tokens of prompt and answer that a call can have at most: no token is shorter than a byte."""
    request = asked[0]
    prompt = _TEMPLATE + sum(len(m.content.encode("utf-8", "replace")) + _PER_MESSAGE for m in request.messages)
    prompt += len((request.prefill or "").encode("utf-8", "replace"))
    if request.json_schema is not None:
        prompt += len(str(request.json_schema).encode("utf-8", "replace"))
    return prompt * len(asked), len(asked) * (request.max_tokens + (request.thinking or 0))


def _package_price(model: str) -> Price | None:
    try:
        from genai_prices import Usage, calc_price  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None

    def cost(**tokens: int) -> float:
        found: Any = calc_price(Usage(**tokens), model_ref=model)
        return float(found.total_price)

    try:
        # A thousand tokens, since some prices rise with the length of the prompt.
        return Price(cost(input_tokens=1000) * 1000, cost(output_tokens=1000) * 1000)
    except LookupError:
        return None
