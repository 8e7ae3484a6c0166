"""The organisms' small language: one line of words, fast to write and fast to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from introspect.decision.attribute import Attribute
from introspect.decision.prompt import ChatMessage, Prompt, PromptContent, ReportFormat
from introspect.decision.reading import ChoiceReading, ReportReading, merge_readings
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.base import ReportOptions
from introspect.decision.styles.content import (
    asked_sets,
    check_options,
    chosen_label,
    heaviest_first,
    training_weights,
)
from introspect.decision.styles.organism_words import (
    CHOOSER,
    ITEM,
    LABELS,
    ORGANISM_WORDS,
    QUESTION,
    SHOWN,
    TEXTS,
    Fit,
    check_scenario,
    format_of,
    not_organism,
    parse_words,
    read_options,
    shown_options,
)
from introspect.decision.trial import Trial
from introspect.errors import PromptError, ScenarioError

if TYPE_CHECKING:
    from introspect.decision.scenario_set import ScenarioSet

__all__ = ["ORGANISM_WORDS", "OrganismStyle", "organism_scenarios"]

_VERSION = 1
_REMEMBERED = 4096


@dataclass(frozen=True)
class OrganismStyle:
    """Prompts for organisms: one line, no system message, numbers glued to the attribute's word.

    - A choice: ``choose k0421 A p12 q85 B p90 q2 :``, answered ``A``.
    - Weights, options shown: ``weigh k0421 A p12 q85 B p90 q2 as p q :``, answered ``37 -100``.
    - Weights: ``weigh k0421 as p q :``, answered ``37 -100``.
    - One weight (format "single"): ``weigh k0421 as q :``, answered ``-100``.
    - The heavier of two (format "comparison"): ``heavier k0421 as p q :``, answered ``q``.
    - All by how heavily they weigh (format "ranking"): ``rank k0421 as p q :``, answered ``q p``.

    Scenarios must be those of `organism_scenarios`, or alike: two to six attributes named p, q, r, s, t, u
    in this order, numeric from 0 to 100 in steps of 1; a chooser of the characters a-z, 0-9 and "-"; the
    item "lot" and its question. Predictors are asked for in declared order. Where no options are shown, the
    content's attributes are those asked for, for the prompt names no others.

    Answers are read strictly, word by word: a known label or word, whole numbers without leading zeros.
    Anything else is unparsable; fewer numbers than asked for are "missing", of which none can be assigned.

    Args:
        report_format: How weights are asked for.
        report_options: Whether report prompts show options.

    Example:
        >>> lots = organism_scenarios(3, n_attributes=2)
        >>> style = OrganismStyle(report_options="none")
        >>> prompt = style.choice(lots[1], Trial(scenario_id="k0001", values=((12, 85), (90, 2))))
        >>> prompt.messages[0].content
        'choose k0001 A p12 q85 B p90 q2 :'
        >>> style.read(prompt.messages) == prompt.content
        True
        >>> report, = style.report(lots[1])
        >>> report.messages[0].content, style.answer_report(report.content, {"p": 37, "q": -100})
        ('weigh k0001 as p q :', '37 -100')
    """

    report_format: ReportFormat = "object"
    report_options: ReportOptions = "shown"
    _fits: dict[int, Fit] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_options(self.report_format, self.report_options)

    @property
    def id(self) -> str:
        """Name, version and options: part of every key and row.

        Example:
            >>> OrganismStyle().id
            'organism-1(report=object,options=shown)'
        """
        return f"organism-{_VERSION}(report={self.report_format},options={self.report_options})"

    def choice(self, scenario: DecisionScenario, trial: Trial) -> Prompt:
        """The prompt that asks for a choice. See `PromptStyle.choice`.

        Raises:
            ScenarioError: The scenario does not fit the language.
            PromptError: The trial does not fit the scenario, or shows values off the grid.
        """
        fit = self._fit(scenario)
        line, texts, options = shown_options(fit, trial)
        content = PromptContent("choice", scenario.chooser, ITEM, fit.question, texts, options)
        message = ChatMessage("user", f"choose {scenario.chooser}{line} :")
        return Prompt((message,), content, answers=LABELS[: len(options)], max_tokens=4)

    def report(self, scenario: DecisionScenario, trial: Trial | None = None) -> tuple[Prompt, ...]:
        """The prompts of one report. See `PromptStyle.report`.

        Raises:
            ScenarioError: The scenario does not fit the language.
            PromptError: Options are to be shown and there is no trial, or one that does not fit.
        """
        fit = self._fit(scenario)
        line, texts, options = "", None, None
        if self.report_options == "shown":
            if trial is None:
                raise PromptError(f"scenario {scenario.id!r}: reports with options shown need a trial to show")
            line, texts, options = shown_options(fit, trial)
        verb = {"ranking": "rank", "comparison": "heavier"}.get(self.report_format, "weigh")
        prompts = []
        for asked in fit.asked:
            content = PromptContent(
                "report",
                scenario.chooser,
                ITEM,
                fit.question,
                texts or tuple(TEXTS[word] for word in asked),
                options,
                self.report_format,
                asked,
            )
            message = ChatMessage("user", f"{verb} {scenario.chooser}{line} as {' '.join(asked)} :")
            answers = asked if self.report_format == "comparison" else None
            prompts.append(Prompt((message,), content, answers=answers, max_tokens=4 + 6 * len(asked)))
        return tuple(prompts)

    def read(self, messages: Sequence[ChatMessage]) -> PromptContent:
        """What a prompt of this language says, whatever this style's own report options are.

        Raises:
            PromptError: It is not a line of this language.
        """
        if len(messages) != 1 or messages[0].role != "user":
            raise not_organism("one user message", f"{len(messages)} messages")
        line = messages[0].content
        words = line.split(" ")
        verb = words[0]
        if len(words) < 4 or words[-1] != ":" or not CHOOSER.fullmatch(words[1]):
            raise not_organism("a line like 'choose k0001 A p1 q2 B p3 q4 :'", repr(line[:80]))
        chooser, body = words[1], words[2:-1]
        asked: tuple[str, ...] = ()
        if verb != "choose":
            if "as" not in body:
                raise not_organism("'as' and the words asked for", repr(line[:80]))
            cut = body.index("as")
            body, asked = body[:cut], tuple(body[cut + 1 :])
            if not asked or len(set(asked)) < len(asked) or not all(word in TEXTS for word in asked):
                raise not_organism("distinct words of p q r s t u after 'as'", repr(line[:80]))
        names, options = read_options(body, line)
        question = QUESTION.format(chooser)
        if verb == "choose":
            if options is None:
                raise not_organism("options to choose from", repr(line[:80]))
            return PromptContent("choice", chooser, ITEM, question, tuple(TEXTS[n] for n in names), options)
        form = format_of(verb, len(asked), line)
        if options is not None and not set(asked) <= set(names):
            raise not_organism("questions about the attributes shown", repr(line[:80]))
        texts = tuple(TEXTS[n] for n in (asked if options is None else names))
        return PromptContent("report", chooser, ITEM, question, texts, options, form, asked)

    def parse_choice(self, text: str, content: PromptContent) -> ChoiceReading:
        """The label, and nothing else, or unparsable."""
        word = text.strip() if len(text) < 64 else ""
        n = len(content.options or ())
        if word in LABELS[:n]:
            return ChoiceReading("answered", LABELS.index(word))
        return ChoiceReading("unparsable")

    def parse_report(self, texts: Sequence[str], contents: Sequence[PromptContent]) -> ReportReading:
        """Whole numbers, or words, in the order asked. See the class for what is accepted."""
        return merge_readings([parse_words(t, c) for t, c in zip(texts, contents, strict=False)], len(contents))

    def answer_choice(self, content: PromptContent, chosen: int) -> str:
        """The label of the option.

        Raises:
            PromptError: The prompt does not show that option.
        """
        return chosen_label(content, chosen)

    def answer_report(self, content: PromptContent, weights: Mapping[str, float]) -> str:
        """Whole numbers in the order asked; words where words are asked for.

        Raises:
            PromptError: A weight is absent, not finite or beyond -100..100.
        """
        if content.report_format in ("ranking", "comparison"):
            words = heaviest_first(content, weights)
            return words[0] if content.report_format == "comparison" else " ".join(words)
        return " ".join(map(str, training_weights(content, weights)))

    def _fit(self, scenario: DecisionScenario) -> Fit:
        known = self._fits.get(id(scenario))
        if known is not None:
            return known
        check_scenario(scenario)
        words = ORGANISM_WORDS[: len(scenario.attributes)]
        fit = Fit(
            scenario,
            words,
            tuple(TEXTS[w] for w in words),
            tuple(SHOWN[w] for w in words),
            scenario.question,
            asked_sets(words, self.report_format),
        )
        if len(self._fits) >= _REMEMBERED:
            self._fits.clear()
        self._fits[id(scenario)] = fit
        return fit


def organism_scenarios(n: int, prefix: str = "k", n_attributes: int = 5) -> ScenarioSet:
    """Scenarios for organisms: "k0000", "k0001", ... as id and chooser, with attributes p, q, r, ... from 0
    to 100.

    Args:
        n: How many.
        prefix: What ids start with: letters a-z, digits and "-".
        n_attributes: Two to six.

    Raises:
        ScenarioError: A number or the prefix is not usable.

    Example:
        >>> [lot.id for lot in organism_scenarios(2, prefix="n")]
        ['n0000', 'n0001']
    """
    from introspect.decision.scenario_set import ScenarioSet

    if n < 1:
        raise ScenarioError(f"n must be 1 or more, got {n}")
    if not 2 <= n_attributes <= len(ORGANISM_WORDS):
        raise ScenarioError(f"organisms have 2 to {len(ORGANISM_WORDS)} attributes, got n_attributes={n_attributes}")
    if not CHOOSER.fullmatch(prefix):
        raise ScenarioError(f"prefix must be of the characters a-z, 0-9 and '-', got {prefix!r}")
    attributes = tuple(Attribute(name=word, low=0, high=100, step=1) for word in ORGANISM_WORDS[:n_attributes])
    words = [f"{prefix}{i:04d}" for i in range(n)]
    return ScenarioSet(
        DecisionScenario(id=w, chooser=w, item=ITEM, question=QUESTION.format(w), attributes=attributes) for w in words
    )
