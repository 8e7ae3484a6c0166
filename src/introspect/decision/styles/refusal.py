"""Whether a text declines to answer."""

from __future__ import annotations

import re

__all__ = ["is_refusal", "without_thinking"]

_WINDOW = 600
_REFUSAL = re.compile(
    r"\bi(?:'m| am) (?:really |very |so )?(?:sorry|afraid),? (?:but )?(?:that )?i\b"
    r"|\bi (?:really |simply |just )?(?:can't|cannot|can not|won't|will not|must decline|decline|refuse)\b"
    r"|\bi(?:'m| am) (?:unable|not able|not going|not comfortable|not in a position)\b"
    r"|\bi(?:'d| would) (?:rather|prefer) not\b"
    r"|\b(?:as|being) an? (?:ai|artificial intelligence|language model|large language model)\b"
    r"|\bi (?:don't|do not) (?:have|hold|possess) (?:any |my own |personal )*"
    r"(?:preference|opinion|feeling|weight|access)"
    r"|\b(?:can't|cannot|unable to|not able to) "
    r"(?:help|assist|comply|answer|fulfil|provide|choose|make|do that)\b",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether a text declines, by what stands in its first 600 characters (English only).

    To be asked only once no answer was found: many refusals go on to answer after all.

    Example:
        >>> is_refusal("I’m sorry, but I can’t help with that."), is_refusal("B")
        (True, False)
    """
    return _REFUSAL.search(text[:_WINDOW].replace("’", "'")) is not None


def without_thinking(text: str) -> str | None:
    """The text after a model's written-out thinking; None where the thinking has no end.

    Example:
        >>> without_thinking("<think>A or B?</think>B"), without_thinking("<think>A or")
        ('B', None)
    """
    end = text.rfind("</think>")
    if end >= 0:
        return text[end + len("</think>") :]
    return None if text.lstrip().startswith("<think>") else text
