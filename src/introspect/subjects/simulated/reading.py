"""A simulated agent's eyes: what a prompt says, it learns from the text, through a style."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from introspect.backend.wire import Message
from introspect.decision.prompt import ChatMessage, PromptContent
from introspect.decision.styles.base import PromptStyle
from introspect.errors import PromptError

__all__ = ["read_prompt", "readable_styles"]


@lru_cache(maxsize=1)
def readable_styles() -> tuple[PromptStyle, ...]:
    """The styles that ship with the library."""
    from introspect.decision.styles.chat import ChatStyle
    from introspect.decision.styles.organism import OrganismStyle

    return (ChatStyle(), OrganismStyle())


def read_prompt(
    messages: Sequence[Message], styles: Sequence[PromptStyle] | None = None
) -> tuple[PromptStyle, PromptContent]:
    """What a prompt says, and in which style it says so.

    Args:
        messages: The chat, ending with the user's turn.
        styles: Styles to try in turn; those that ship with the library where None.

    Raises:
        PromptError: It is written in none of them.

    Example:
        >>> read_prompt([Message(role="user", content="Hello!")])
        Traceback (most recent call last):
        introspect.errors.PromptError: the prompt is in none of the styles that a simulated agent reads (...
    """
    tried = readable_styles() if styles is None else tuple(styles)
    chat = tuple(ChatMessage(message.role, message.content) for message in messages)
    problems = []
    for style in tried:
        try:
            return style, style.read(chat)
        except PromptError as error:
            problems.append(f"{style.id}: {error}")
    raise PromptError(f"the prompt is in none of the styles that a simulated agent reads ({'; '.join(problems)})")
