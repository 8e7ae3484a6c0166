"""What nnsight, TransformerLens or plain transformers need of a tuned model: whole weights and the exact prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict

from introspect._checked import Checked
from introspect.backend.wire import ModelRef
from introspect.decision.styles.base import PromptStyle
from introspect.decision.trial_set import TrialSet
from introspect.errors import BackendError
from introspect.measure.ask import request_of

__all__ = ["RenderedPrompt", "export_white_box"]


class RenderedPrompt(Checked):
    """A choice as the model is really given it.

    Attributes:
        scenario: Id of the context.
        text: The prompt, chat template and all; the next token is the first of the answer.
        token_ids: The same as token ids. Tokenise nothing anew: a tokenizer may add its special tokens once more.
        answers: Each answer letter and the ids of the tokens that it may begin with at this place.
        label: The answer that the preference gives; None where the trial is not labelled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: str
    text: str
    token_ids: tuple[int, ...]
    answers: dict[str, tuple[int, ...]]
    label: str | None = None


def export_white_box(
    ref: ModelRef, folder: Path | str, trials: TrialSet, style: PromptStyle, *, dtype: str = "float32"
) -> tuple[RenderedPrompt, ...]:
    """Write a tuned model as ordinary merged weights, and beside them the exact prompts of some trials.

    ``folder/model`` is a transformers folder for `nnsight.LanguageModel`'s heirs, TransformerLens or
    `AutoModelForCausalLM`; ``folder/prompts.jsonl`` has a line for each trial. The logits at a prompt's last token,
    over the tokens in `answers`, are the choice that the library reads.

    Args:
        ref: A model of the provider "transformers", tuned or not.
        folder: To be made; it must not be there, or be empty.
        trials: What is shown.
        style: Words them; the one that the model was trained with.
        dtype: Of the weights: "float32", "bfloat16" or "float16".

    Returns:
        The prompts that were written.

    Raises:
        BackendError: The folder is in use, or `ref` is no local model.
        MissingExtraError: The extra ``local`` is not installed.
    """
    from introspect.backend.local.answers import first_tokens
    from introspect.backend.local.bases import load_codec, weights_of
    from introspect.backend.local.export import save_model

    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackendError(f"{target} is already there and not empty; give a new folder")
    save_model(ref, target / "model", merged=True, dtype=dtype)
    codec, _ = load_codec(weights_of(ref))
    prompts = []
    for scenario, trial in trials:
        prompt = style.choice(scenario, trial)
        text = codec.prompt_text(request_of(prompt))
        letters = tuple(prompt.answers or ())
        begins = first_tokens(codec, text, letters)
        if isinstance(begins, str):
            raise BackendError(f"the letters of {scenario.id!r} cannot be told apart by their first tokens: {begins}")
        label = letters[trial.label] if trial.label is not None else None
        prompts.append(
            RenderedPrompt(scenario=scenario.id, text=text, token_ids=codec.encode(text), answers=begins, label=label)
        )
    lines: Sequence[str] = [json.dumps(prompt.model_dump(), ensure_ascii=False) for prompt in prompts]
    (target / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tuple(prompts)
