"""What answers to report prompts mean: lenient about form, never a wrong number.

What is accepted as an object of weights:

- exactly one JSON object that names what was asked for, anywhere in the text: in code fences, after or before
prose,
  inside a wrapper such as ``{"weights": {...}}``, with the slips that `find_objects` forgives (other quotes,
  keys without quotes, a trailing comma). Several such objects must agree on every number, and one must name
  everything.
- keys that are the names asked for, or match exactly one of them after case, spaces, underscores and hyphens
are
  dropped, with or without the unit in parentheses ("Fuel use (litres)" for ``fuel_use``); keys not asked for
  are ignored.
- values that `read_number` accepts, as numbers or as strings, or an object that holds the number as "weight",
"weighting",
  "importance", "score" or "rating" (``{"price": {"weight": -40, "why": "..."}}``).

What is not: an object that the text breaks off ("truncated"), a name given twice with different numbers, two
objects that differ, an object that begins well and is not JSON further on (``{"price": 1,000}``). Then no
number is taken at all. No parser here raises, and each takes time linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from introspect.decision.prompt import PromptContent
from introspect.decision.reading import ReadingStatus, ReportReading
from introspect.decision.styles.loose_json import (
    Bare,
    Found,
    LooseArray,
    LooseObject,
    LooseValue,
    find_arrays,
    find_objects,
)
from introspect.decision.styles.numbers import NotANumber, read_number
from introspect.decision.styles.refusal import is_refusal, without_thinking

__all__ = ["key_matcher", "read_ranking", "read_single", "read_weights"]

_WEIGHT_KEYS = frozenset({"weight", "weighting", "importance", "score", "rating"})
_RECORD_KEYS = frozenset({"attribute", "name", "dimension", "feature", "factor", "key", "criterion"})
_DROPPED = re.compile(r"[\s_\-]+")
_BULLET = re.compile(r"^\s*(?:[-*•]|[0-9]{1,2}[.)])\s+")

Matcher = Callable[[str], str | None]
_Answer = float | NotANumber


def read_weights(text: str, content: PromptContent) -> ReportReading:
    """The weights in an answer that should be one JSON object.

    Example:
        >>> from introspect.decision.prompt import AttributeText
        >>> content = PromptContent("report", "Ines", "flat", "Which?", (AttributeText("price", "euro"),
        ...     AttributeText("floor_area")), None, "object", ("price", "floor_area"))
        >>> read_weights('My guess: {"Price (euro)": "−80%", "Floor area": 35,}', content).weights
        {'price': -80.0, 'floor_area': 35.0}
        >>> read_weights('{"price": 1,000, "floor_area": 35}', content).status
        'unparsable'
        >>> read_weights('{"price": -80, "floor_ar', content).status
        'truncated'
    """
    rest = without_thinking(text)
    if rest is None:
        return ReportReading("truncated", problems=("the text ends while the model is still thinking",))
    match = key_matcher(content)
    found = find_objects(rest)
    if found.cut:
        return ReportReading("truncated", problems=("the text ends in the middle of an object",))
    if found.noise or (broken := _broken(found, match)):
        problem = "more brackets than any answer has" if found.noise else broken
        return ReportReading("unparsable", problems=(problem,))
    candidates = [c for value in found.values for c in _candidates(value, match, content.asked)]
    if not candidates:
        return _no_answer(rest, "no JSON object with the names asked for")
    twice = sorted({name for c in candidates for name in c.contradictory})
    if twice:
        return ReportReading("unparsable", problems=(f"given twice with different numbers: {', '.join(twice)}",))
    best = max(candidates, key=lambda c: len(c.answers))
    if any(best.answers.get(name, answer) != answer for c in candidates for name, answer in c.answers.items()):
        return ReportReading("unparsable", problems=(f"{len(candidates)} objects that contradict each other",))
    if len(candidates) > 1 and any(set(c.answers) - set(best.answers) for c in candidates):
        return ReportReading("unparsable", problems=(f"the answer is spread over {len(candidates)} objects",))
    return _judged(best.answers, content.asked)


def read_single(text: str, content: PromptContent) -> ReportReading:
    """The weight in an answer that should be one number: the number, "name: number", or an object as above.

    Example:
        >>> content = PromptContent("report", "Ines", "flat", "Which?", (), None, "single", ("price",))
        >>> [read_single(t, content).weights for t in ("-80", "**Price**: -80.", '{"price": -80}', "8 or 9")]
        [{'price': -80.0}, {'price': -80.0}, {'price': -80.0}, {}]
    """
    rest = without_thinking(text)
    if rest is None or "{" in rest:
        return read_weights(text, content)
    name = content.asked[0]
    line = rest.strip("\"'`*_“”‘’ \t\r\n") if len(rest) < 2000 else ""
    answer = read_number(_without_stop(line))
    if answer == "unparsable" and "\n" not in line:
        head, colon, tail = line.rpartition(":")
        label = head.strip("\"'`*_“”‘’ \t")
        if colon and (key_matcher(content)(label) == name or _plain_key(label) in ("weight", "answer")):
            answer = read_number(_without_stop(tail.strip("\"'`*_“”‘’ \t")))
    if answer == "unparsable" or not line:
        return _no_answer(rest, f"expected one number for {name}, got {text[:40]!r}")
    return _judged({name: answer}, content.asked)


def read_ranking(text: str, content: PromptContent) -> ReportReading:
    """The order in an answer that should be one JSON array of names: an array, or one name a line.

    Example:
        >>> content = PromptContent("report", "Ines", "flat", "?", (), None, "ranking", ("price", "size"))
        >>> [read_ranking(text, content).ranking for text in ('["Size", "price"]', "1. size\\n2. price")]
        [('size', 'price'), ('size', 'price')]
    """
    rest = without_thinking(text)
    if rest is None:
        return ReportReading("truncated", problems=("the text ends while the model is still thinking",))
    match = key_matcher(content)
    found = find_arrays(rest)
    if found.cut:
        return ReportReading("truncated", problems=("the text ends in the middle of an array",))
    if found.noise:
        return ReportReading("unparsable", problems=("more brackets than any answer has",))
    lists = [
        [item.text if isinstance(item, Bare) else item for item in value.items]
        for value in found.values
        if isinstance(value, LooseArray) and all(isinstance(item, str | Bare) for item in value.items)
    ]
    if not found.values:
        lines = [_BULLET.sub("", line).strip(" \t,;.\"'`*") for line in rest[:20_000].split("\n")]
        lists = [[line for line in lines if line and not line.startswith("```")]]
    orders = {tuple(match(str(item)) or "" for item in items) for items in lists}
    whole = [order for order in orders if sorted(order) == sorted(content.asked)]
    if len(orders) == len(whole) == 1:
        return ReportReading("answered", ranking=whole[0])
    if len(orders) > 1:
        return ReportReading("unparsable", problems=(f"{len(orders)} different lists",))
    return _no_answer(rest, "no list that names each of those asked for exactly once")


def key_matcher(content: PromptContent) -> Matcher:
    """Which asked name a key means: itself, or the only one alike but for case, spaces, "_" and "-".

    Example:
        >>> asked = ("Top speed", "top", "TOP")
        >>> match = key_matcher(PromptContent("report", "", "", "", (), None, "object", asked))
        >>> match("top_speed"), match("TOP"), match("Top"), match("speed")
        ('Top speed', 'TOP', None, None)
    """
    exact = set(content.asked)
    units = {a.name: a.unit for a in content.attributes}
    alike: dict[str, set[str]] = {}
    for name in content.asked:
        forms = {_plain_key(name)}
        if units.get(name):
            forms |= {_plain_key(f"{name}({units[name]})"), _plain_key(f"{name}[{units[name]}]")}
        for form in forms:
            alike.setdefault(form, set()).add(name)

    def match(key: str) -> str | None:
        if key in exact:
            return key
        names = alike.get(_plain_key(key), ()) if len(key) < 1000 else ()
        return next(iter(names)) if len(names) == 1 else None

    return match


@dataclass(frozen=True, slots=True)
class _Candidate:
    answers: dict[str, _Answer]
    contradictory: tuple[str, ...]


def _candidates(value: LooseValue, match: Matcher, asked: tuple[str, ...]) -> Iterator[_Candidate]:
    """The objects that answer: this one if it names anything asked for, else those inside it."""
    if isinstance(value, LooseArray):
        for item in value.items:
            yield from _candidates(item, match, asked)
    if not isinstance(value, LooseObject):
        return
    answers: dict[str, _Answer] = {}
    contradictory = []
    unused: list[LooseValue] = []
    for key, inner in value.pairs:
        name = match(key)
        if name is None:
            unused.append(inner)
            if _plain_key(key) in _RECORD_KEYS and isinstance(inner, str):
                # {"attribute": "price", "weight": 3}: "weight" is a word of the record, not the attribute of
                # that name.
                return
            continue
        answer = _answer(inner, match)
        if isinstance(inner, LooseObject) and answer == "unparsable":
            unused.append(inner)
        if name in answers and answers[name] != answer:
            contradictory.append(name)
        answers[name] = answer
    if answers and (not unused or any(answer != "unparsable" for answer in answers.values())):
        yield _Candidate(answers, tuple(contradictory))
    inner_ones = [c for inner in unused for c in _candidates(inner, match, asked)]
    yield from inner_ones
    if answers and not inner_ones and all(answer == "unparsable" for answer in answers.values()) and unused:
        yield _Candidate(answers, tuple(contradictory))


def _answer(value: LooseValue, match: Matcher) -> _Answer:
    if isinstance(value, Bare):
        return read_number(value.text)
    if isinstance(value, str):
        return read_number(value)
    if isinstance(value, LooseObject):
        keyed = [(key, inner) for key, inner in value.pairs if _plain_key(key) in _WEIGHT_KEYS]
        others = [key for key, _ in value.pairs if _plain_key(key) not in _WEIGHT_KEYS]
        if len(keyed) == 1 and isinstance(keyed[0][1], str | Bare) and not any(match(key) for key in others):
            return _answer(keyed[0][1], match)
    return "unparsable"


def _judged(answers: dict[str, _Answer], asked: tuple[str, ...]) -> ReportReading:
    raw: dict[str, float] = {}
    kinds: set[ReadingStatus] = set()
    problems = []
    for name in asked:
        answer = answers.get(name, "missing")
        if isinstance(answer, str):
            kinds.add(answer)
            words = {
                "missing": "no number given",
                "not_finite": "not a finite number",
                "unparsable": "not one clear number",
            }
            problems.append(f"{name}: {words[answer]}")
            continue
        raw[name] = answer
        if abs(answer) > 100:
            kinds.add("out_of_range")
            problems.append(f"{name}: {answer:g} is beyond -100..100")
    status: ReadingStatus = "answered" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"
    weights = {name: weight for name, weight in raw.items() if abs(weight) <= 100}
    return ReportReading(status, weights, tuple(problems), raw)


def _broken(found: Found, match: Matcher) -> str:
    names = sorted({name for key in found.broken_keys if (name := match(key)) is not None})
    return f"an object that is not JSON throughout, near {', '.join(names)}" if names else ""


def _no_answer(text: str, problem: str) -> ReportReading:
    if is_refusal(text):
        return ReportReading("refused", problems=("the model declined",))
    return ReportReading("unparsable", problems=(problem if text.strip() else "the answer is empty",))


def _plain_key(key: str) -> str:
    return _DROPPED.sub("", key).casefold()


def _without_stop(text: str) -> str:
    return text[:-1] if text.endswith(".") else text
