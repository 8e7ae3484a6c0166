"""The sections of a protocol."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_serializer, model_validator

from introspect._checked import Checked
from introspect.backend.training import TrainingSpec
from introspect.decision.generator import Design
from introspect.decision.rules.sampler import RuleKind

__all__ = ["Ask", "Contexts", "ControlWord", "Draw", "Fold", "Instil", "Measure", "Report", "Score", "Section", "Train"]


class Section(Checked):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Contexts(Section):
    """What is decided about.

    Attributes:
        instilled: Contexts whose preferences are instilled, the first of the file or of what the backend brings.
        native: Contexts that nothing is instilled in; 0 for no native arm.
        attributes: Attributes of each, where the contexts are our own; None for any number.
        file: Scenario file for the instilled contexts.
        native_file: Scenario file for the native ones; where only `file` is given, its next contexts are native.
    """

    instilled: int = Field(default=100, ge=2)
    native: int = Field(default=40, ge=0)
    attributes: int | None = Field(default=5, ge=2, le=10)
    file: str | None = None
    native_file: str | None = None

    @model_validator(mode="after")
    def _together(self) -> Contexts:
        if self.native_file is not None and self.file is None:
            raise ValueError(
                "native_file: is used together with file only; name the file of the instilled contexts in file, too"
            )
        return self


class Draw(Section):
    """How trials and prompts come about, where that differs from the published study.

    Attributes:
        sides: Each option as often first as second ("counterbalanced"), or "as-drawn", as published.
        ties: Equal utilities are labelled by a seeded "coin" (published: always the second option).
        report_options: Options in training reports are drawn "anew" for each (published: the same draws in all).
        wording: The prompts are our "own"; their structure is the published one.
        contexts: The contexts are our "own", or a "file" of the user's.
        options: Options of every trial, in instilling, measuring and reporting (published: 2).
        rule: What the hidden preference is: "linear" weights (as published), or a rule that no weights can follow:
            "interaction", "screening" or "lexicographic". Reports are then held against, and trained on, the weights
            that come closest to the rule in choices; the control `rules` says which rule the model does follow.
    """

    sides: Literal["counterbalanced", "as-drawn"] = "counterbalanced"
    ties: Literal["coin"] = "coin"
    report_options: Literal["anew"] = "anew"
    wording: Literal["own"] = "own"
    contexts: Literal["own", "file"] = "own"
    options: int = Field(default=2, ge=2, le=26)
    rule: RuleKind = "linear"


class Instil(Section):
    """How preferences are instilled.

    Attributes:
        choices: Examples per context.
        validation: Further ones per context that are asked about and not trained on.
        train: Settings of the training; those at which the backend's models learn if None.
    """

    choices: int = Field(default=50, ge=2)
    validation: int = Field(default=0, ge=0)
    train: TrainingSpec | None = None


class Measure(Section):
    """How the weights in use are measured.

    Attributes:
        choices: Fresh choices per context.
        native_choices: Fresh choices per native context.
        design: How they are drawn.
        read: "logprobs" of the labels where the model has them, or the reply's "text".
        temperature: Of the choices.
        estimator: "eb", "ridge", "firth" or "unit-normal".
        after_report_training: Whether choices are measured again then.
    """

    choices: int = Field(default=50, ge=2)
    native_choices: int = Field(default=100, ge=2)
    design: Design = "d-optimal"
    read: Literal["logprobs", "text"] = "logprobs"
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    estimator: Literal["eb", "ridge", "firth", "unit-normal"] = "eb"
    after_report_training: bool = True


class Ask(Section):
    """How reports are asked for. Changing this asks again, and neither trains nor measures choices anew.

    Attributes:
        reports: Reports per context.
        options: "fresh" options in each, or "none".
        format: "object", "single", "ranking" or "comparison"; the style's own if None.
        temperature: Of the reports.
    """

    reports: int = Field(default=10, ge=1)
    options: Literal["fresh", "none"] = "fresh"
    format: Literal["object", "single", "ranking", "comparison"] | None = None
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Fold(Section):
    """One split for report training, by ids of contexts."""

    train: tuple[str, ...] = Field(min_length=1)
    test: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> Fold:
        both = sorted(set(self.train) & set(self.test))
        if both:
            raise ValueError(
                f"train and test overlap in {', '.join(both[:4])}{' and others' if len(both) > 4 else ''}: what is "
                "trained on cannot be held out; take each of these out of one of the two"
            )
        return self


class Train(Section):
    """How reporting is trained. Changing this repeats report training and what follows from it.

    Attributes:
        examples: Report examples per context.
        targets: "target" (what was taught, as published) or "learned" (what choices show).
        folds: Into how many parts contexts are cut, each held out once; or the splits themselves.
        all_contexts: Whether a further model is trained on all of them, for the native arm.
        settings: Settings of the training; those at which the backend's models learn if None.
    """

    examples: int = Field(default=1, ge=1)
    targets: Literal["target", "learned"] = "target"
    folds: int | tuple[Fold, ...] = 2
    all_contexts: bool = True
    settings: TrainingSpec | None = None

    @model_validator(mode="after")
    def _possible(self) -> Train:
        if isinstance(self.folds, int):
            if self.folds < 2:
                raise ValueError(f"folds: {self.folds} leaves no context held out; give 2 or more")
            return self
        if not self.folds:
            raise ValueError("folds: an empty list holds nothing out; give splits, or a number from 2")
        held = [name for fold in self.folds for name in fold.test]
        twice = sorted({name for name in held if held.count(name) > 1})
        if twice:
            raise ValueError(f"folds: {', '.join(twice[:4])} are held out twice; each context is held out once")
        return self


class Report(Section):
    """Reports: how they are asked for, and how they are trained."""

    ask: Ask = Ask()
    train: Train = Train()


class Score(Section):
    """How reports are scored.

    Attributes:
        n_boot: Bootstrap resamples.
        n_null: Draws from each null.
    """

    n_boot: int = Field(default=2000, ge=50)
    n_null: int = Field(default=2000, ge=49)


class ControlWord(Section):
    """A control by its word, with settings of its own where the defaults will not do.

    Example:
        >>> ControlWord.model_validate("placebo").word
        'placebo'
        >>> ControlWord.model_validate({"dose": {"shares": [0.5, 1.0]}}).settings
        {'shares': [0.5, 1.0]}
    """

    word: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"word": given}
        if isinstance(given, dict) and len(given) == 1 and "word" not in given:
            ((word, settings),) = given.items()
            return {"word": word, "settings": settings or {}}
        return given

    @model_validator(mode="after")
    def _known(self) -> ControlWord:
        # Only here: controls stand on protocols, and not the other way round.
        from introspect.study.controls.catalogue import check_word

        check_word(self.word, dict(self.settings))
        return self

    @model_serializer
    def _write(self) -> JsonValue:
        return {self.word: self.settings} if self.settings else self.word
