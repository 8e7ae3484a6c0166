"""From messages to token ids and back: one codec for asking and for training, so that the two cannot differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from introspect.backend.training import TrainingExample
from introspect.backend.wire import Message, Request
from introspect.errors import BackendError, TrainingError

__all__ = ["ChatCodec", "TokenisedExample"]


@dataclass(frozen=True)
class TokenisedExample:
    """A training example as the model sees it.

    Attributes:
        prompt: Token ids up to and including the template's generation prompt: what the model is asked with.
        answer: Token ids of the answer and of the mark that ends a turn: what it is trained on.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and answer."""
        return self.prompt + self.answer

    @property
    def labels(self) -> tuple[int, ...]:
        """The ids with the prompt masked by -100."""
        return (-100,) * len(self.prompt) + self.answer


class ChatCodec:
    """Renders messages with a tokenizer's own chat template.

    A template that refuses a system message (Gemma's, for one) gets its text in front of the first user message, in
    training as in asking. Templates that know "thinking" are told not to, unless a request grants a budget.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        stop_ids: Further token ids that end a turn, from the model's generation config.

    Raises:
        BackendError: The tokenizer has no chat template or no end-of-turn token.
    """

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int] = ()) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise BackendError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template, so it cannot be asked with "
                f"messages. Use an instruction-tuned model, or set chat_template in its tokenizer_config.json."
            )
        own = () if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),)
        self.stop_ids = frozenset((*own, *stop_ids))
        if not own:
            raise BackendError(f"the tokenizer of {tokenizer.name_or_path!r} names no eos token to end an answer with")
        self.tokenizer = tokenizer
        self.system_role = self._takes_system()

    def prompt_text(self, request: Request) -> str:
        """The text that the model continues: template, generation prompt and prefill."""
        text = self._render(request.messages, generate=True, thinking=bool(request.thinking))
        return text + (request.prefill or "")

    def prompt(self, request: Request) -> tuple[int, ...]:
        """Token ids of `prompt_text`."""
        return self.encode(self.prompt_text(request))

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of rendered text; the template has already written all special tokens."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def example(self, example: TrainingExample) -> TokenisedExample:
        """Tokenise for training, and prove that asking would have given the very same prompt.

        The template renders the whole conversation, answer included, as training code usually does; the prompt is
        rendered apart, as asking does. The first must start with the second, in text and in tokens, the next
        characters must be the answer, and what is trained on must read as the answer again.

        Raises:
            TrainingError: One of these does not hold.
        """
        prompt_text = self._render(example.prompt, generate=True, thinking=False)
        whole_text = self._render(example.messages, generate=False, thinking=False)
        if not whole_text.startswith(prompt_text + example.answer):
            raise TrainingError(
                "the chat template renders this conversation differently for training and for asking: asked, it "
                f"ends in {prompt_text[-40:]!r}; trained on, the same place reads "
                f"{whole_text[max(0, len(prompt_text) - 40) : len(prompt_text) + 20]!r}. An answer that the template "
                "changes (spaces at its ends are usually cut) cannot be trained on."
            )
        prompt, whole = self.encode(prompt_text), self.encode(whole_text)
        if whole[: len(prompt)] != prompt:
            raise TrainingError(
                "the answer's first letters melt into the last token of the prompt, so the model would be trained "
                f"on another prompt than it is asked with; the prompt ends in {prompt_text[-20:]!r} and the answer "
                f"is {example.answer[:40]!r}"
            )
        tail = whole[len(prompt) :]
        # Templates write the end-of-turn mark and often a newline after it; the model stops at the mark.
        stops = [place for place, token in enumerate(tail) if token in self.stop_ids]
        if stops:
            answer = tail[: stops[0] + 1]
        else:
            answer = (*self.encode(example.answer), self.tokenizer.eos_token_id)
        if self.decode(answer) != example.answer:
            raise TrainingError(
                f"the answer {example.answer[:60]!r} would be trained on as {self.decode(answer)[:60]!r}"
            )
        return TokenisedExample(prompt=prompt, answer=answer)

    def _render(self, messages: Sequence[Message], *, generate: bool, thinking: bool) -> str:
        chat = [{"role": m.role, "content": m.content} for m in messages]
        if not self.system_role and chat[0]["role"] == "system":
            chat = _system_folded(chat)
        rendered = self.tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=generate, enable_thinking=thinking
        )
        return str(rendered)

    def _takes_system(self) -> bool:
        mark = "a system line"
        chat = [{"role": "system", "content": mark}, {"role": "user", "content": "a user line"}]
        try:
            rendered = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        except Exception:  # whatever the template raises, it does not take one
            return False
        return mark in rendered


def _system_folded(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    system, rest = chat[0]["content"], chat[1:]
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    return [{"role": "user", "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]
