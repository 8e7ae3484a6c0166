"""From what a style words to what a backend is asked: the only place where prompts become requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from pydantic import JsonValue

from introspect.backend.portal import collect
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Message, Reply, Request
from introspect.decision.prompt import Prompt
from introspect.decision.reading import ReadingStatus

__all__ = ["OnReply", "ask_all", "report_schema", "request_of", "status_of"]

OnReply = Callable[[int, Reply], None]
"""Called with (index of the request, reply) as each reply arrives."""


def request_of(
    prompt: Prompt,
    *,
    temperature: float = 0.0,
    seed: int | None = None,
    sample_index: int = 0,
    thinking: int | None = None,
    graded: bool = True,
    json_schema: dict[str, JsonValue] | None = None,
) -> Request:
    """The request that asks a prompt.

    Args:
        prompt: What to ask.
        temperature: 0 is greedy.
        seed: Sampling seed.
        sample_index: Which repeat of an otherwise equal request this is.
        thinking: Token budget of a reasoning model.
        graded: Whether to ask for the log-probability of each answer of a closed set.
        json_schema: What the reply must follow.

    Example:
        >>> from introspect.decision.prompt import ChatMessage, PromptContent
        >>> content = PromptContent("choice", "Ines", "flat", "Which?", (), ())
        >>> prompt = Prompt((ChatMessage("user", "A or B?"),), content, answers=("A", "B"), max_tokens=4)
        >>> request_of(prompt).answers
        ('A', 'B')
    """
    return Request(
        messages=tuple(Message.model_validate(message._asdict()) for message in prompt.messages),
        answers=prompt.answers if graded else None,
        max_tokens=prompt.max_tokens,
        temperature=temperature,
        seed=seed,
        sample_index=sample_index,
        prefill=prompt.prefill,
        thinking=thinking,
        json_schema=json_schema,
    )


def report_schema(asked: Sequence[str]) -> dict[str, JsonValue]:
    """The JSON schema of a report: every weight that is asked for, in that order, as a whole number in -100..100.

    Example:
        >>> report_schema(["rent"])["properties"]
        {'rent': {'type': 'integer', 'minimum': -100, 'maximum': 100}}
    """
    weight: JsonValue = {"type": "integer", "minimum": -100, "maximum": 100}
    return {
        "type": "object",
        "properties": dict.fromkeys(asked, weight),
        "required": list(asked),
        "additionalProperties": False,
    }


async def ask_all(
    backend: ModelBackend, requests: Sequence[Request], on_reply: OnReply | None, progress: str | None
) -> list[Reply]:
    """All replies in the order of the requests, with a progress bar where one is named.

    Raises:
        FatalBackendError: From the backend; `on_reply` has seen all replies that came before.
    """
    with ExitStack() as stack:
        callbacks = [on_reply] if on_reply is not None else []
        if progress is not None:
            from tqdm.auto import tqdm

            bar = stack.enter_context(tqdm(total=len(requests), desc=progress, unit="reply"))

            def advance(_index: int, _reply: Reply) -> None:
                bar.update()

            callbacks.append(advance)

        def tell(index: int, reply: Reply) -> None:
            for callback in callbacks:
                callback(index, reply)

        return await collect(backend, requests, tell if callbacks else None)


def status_of(replies: Sequence[Reply], read: ReadingStatus) -> ReadingStatus:
    """What a reading's status is once it is known how the replies ended.

    A reply that failed or was held back is no answer, whatever its text says; one that was cut short is only
    called so where the text that did arrive holds no answer.

    Example:
        >>> status_of([Reply(status="truncated", text="A")], "answered")
        'answered'
        >>> status_of([Reply(status="truncated", text="The")], "unparsable")
        'truncated'
        >>> status_of([Reply(status="failed")], "unparsable")
        'failed'
    """
    ends = {reply.status for reply in replies}
    if "failed" in ends:
        return "failed"
    if "filtered" in ends:
        return "filtered"
    if "truncated" in ends and read not in ("answered", "refused"):
        return "truncated"
    return read
