"""Which of a few letters an answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from introspect.decision.reading import ChoiceReading
from introspect.decision.styles.refusal import is_refusal, without_thinking

__all__ = ["read_letter"]

# Marks that set a letter off without meaning anything; full-width letters become plain ones.
_MARKS = dict.fromkeys(map(ord, '*_`"“”[](){}<>#\\«»'), " ") | {ord("’"): "'", 0xA0: " ", 0xFF1A: ":"}
_PLAIN = str.maketrans(
    _MARKS | {0xFF21 + k: chr(65 + k) for k in range(26)} | {0xFF41 + k: chr(97 + k) for k in range(26)}
)
_SENTENCE = re.compile(r"[\n.!;。]+|(?<=\?)")
_LEAD = r"(?:(?:so|thus|therefore|hence|overall|okay|ok|sure|certainly|then|well)\b[,:]? +)?"
_NOUN = r"(?:answer|choice|decision|option|pick|selection|letter|boxed)"
_DECLARED = (
    rf"(?:(?:(?:the|my|our|their|his|her|its) +)?(?:(?:final|best|correct|right|better|preferred) +)?{_NOUN}"
    r"(?: +(?:is|would be|will be|has to be|must be))? *[:=]? *"
    r"|(?:i|we|they|he|she|it|you)(?:'d|'ll| +would| +will| +should)? +"
    r"(?:choose|chooses|chose|pick|picks|select|selects|take|takes|prefer|prefers|go +with|goes +with|go +for"
    r"|opt +for) +)"
)
_REASON = r"(?: *,? +(?:because|since|given that)\b[^?]*)?"
_ARTICLE = re.compile(
    r"[ \t]+(?!(?:is|has|or|and|over|than|vs|because|since|with|wins|offers|would|but|for|costs)\b)[a-z]"
)
_SECOND_THOUGHTS = re.compile(
    r"\b(?:wait|actually|correction|scratch that|reconsider\w*|second thoughts?|hmm+|on reflection"
    r"|sorry|mistake|mistaken|instead|changed? my mind|or rather|just kidding)\b|(?:^|[\n.!;?]) *no\b",
    re.IGNORECASE,
)
_NO_NAMES = frozenset({"the", "not", "never", "nobody", "nor", "neither", "either", "answer", "option", "choice"})
_CONCLUDING = r"\b(?i:so|thus|therefore|hence|overall|finally|in conclusion)\b[^\n.!;?]{0,200}"


def read_letter(text: str, labels: Sequence[str], chooser: str | None = None) -> ChoiceReading:
    """Which of the labelled options an answer names.

    Accepted, with "B" standing for any of the labels:

    - nothing but the letter, in either case, with or without marks around it: "B", " b.", "**B**", "(B)",
    "Option B"; - a sentence that says so: "The answer is B.", "Final answer: B", "I would choose option B
    because ...", "B because
      ..." (capital letters only, for "a" is a word), also with the chooser's name instead of "I";
    - a first line of only the letter, then an explanation.

    Where the text says two different letters in these ways, names another letter without having begun or
    ended with a clear answer, or has second thoughts after it ("wait", "actually", ...), it is unparsable.
    "Refused" is a text without answer that declines. Never raises; time is linear in the length of the text.

    Args:
        text: The answer.
        labels: Capital letters, in the order shown.
        chooser: Who may stand where "I" does, also as only the first word, or the words before a comma.

    Example:
        >>> read_letter("The answer is **B**.", "AB").chosen, read_letter("A or B, both fine", "AB").status
        (1, 'unparsable')
    """
    rest = without_thinking(text)
    if rest is None:
        return ChoiceReading("truncated")
    for name in _short_names(chooser or ""):
        rest = rest.replace(name, "they")
    # One space each: runs of spaces would make the patterns below take quadratic time.
    plain = re.sub(r"[ \t]+", " ", rest.translate(_PLAIN)).strip()
    names = "|".join(map(re.escape, labels))
    alone = re.fullmatch(rf"(?:(?:option|answer|choice) *:? *)?({names}) *[.,!]*", plain[:40], re.IGNORECASE)
    if alone is not None and len(plain) < 40:
        return ChoiceReading("answered", list(labels).index(alone.group(1).upper()))
    chosen = _clear_answer(plain, labels, names)
    if chosen is not None:
        return ChoiceReading("answered", list(labels).index(chosen))
    return ChoiceReading("refused" if is_refusal(rest) else "unparsable")


def _short_names(chooser: str) -> list[str]:
    """What an answer may call the chooser; never a word that a sentence needs for its meaning."""
    names = {chooser, chooser.partition(",")[0], chooser.partition(" ")[0]}
    names = {name for name in names if len(name) > 2 and name[0].isupper() and name.casefold() not in _NO_NAMES}
    return sorted(names, key=len, reverse=True)


def _clear_answer(plain: str, labels: Sequence[str], names: str) -> str | None:
    lone = re.compile(rf"(?i:{_LEAD}(?:option +)?)({names}) *,?")
    said = re.compile(rf"(?i:{_LEAD}(?:{_DECLARED})?(?:(?:option|answer|choice|letter) *:? *)?)({names}){_REASON}")
    sentences = [s.strip() for s in _SENTENCE.split(plain)]
    sentences = [s for s in sentences if s]
    answers: list[tuple[int, str, bool]] = []
    for k, sentence in enumerate(sentences):
        if len(sentence) > 1000:
            continue
        is_lone = lone.fullmatch(sentence)
        match = is_lone or said.fullmatch(sentence)
        if match is not None and _named(sentence, labels) == {match.group(1)}:
            answers.append((k, match.group(1), is_lone is None))
    if len({letter for _, letter, _ in answers}) != 1:
        return None
    where, letter, is_said = answers[-1]
    others = _named(plain, labels) - {letter}
    if others and not is_said and answers[0][0] != 0:
        return None
    after = "\n".join(sentences[answers[0][0] + 1 :])
    if _SECOND_THOUGHTS.search("\n" + after):
        return None
    tail = "\n".join(sentences[where + 1 :])
    # "B. ... So A is better after all."
    if others and re.search(rf"{_CONCLUDING}(?<!\w)(?:{'|'.join(sorted(others))})(?!\w)", tail):
        return None
    return letter


def _named(text: str, labels: Sequence[str]) -> set[str]:
    """Labels that stand alone as capital letters, articles ("A lamp") and the pronoun "I" left out."""
    named = set()
    for label in labels:
        for match in re.finditer(rf"(?<!\w){re.escape(label)}(?!\w)", text):
            if label not in "AI" or not _ARTICLE.match(text, match.end()):
                named.add(label)
                break
    return named
