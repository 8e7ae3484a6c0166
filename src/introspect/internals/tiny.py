"""Tiny random decoders of several families, with a tokenizer of words made in code: for tests and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from introspect.errors import ConfigError, MissingExtraError
from introspect.internals.target import Target

__all__ = ["FAMILIES", "tiny_target", "word_tokenizer"]

FAMILIES = ("llama", "qwen3", "gemma3", "gpt2")


def word_tokenizer(words: tuple[str, ...] = ()) -> Any:
    """A byte-level tokenizer in which each given word is one token, with or without a space before it.

    Example:
        >>> tokenizer = word_tokenizer(("Paris",))
        >>> len(tokenizer(" Paris")["input_ids"])
        1
    """
    try:
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "local") from error
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<end>", "<pad>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_tokens([AddedToken(form, normalized=False) for word in words for form in (f" {word}", word)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<pad>")
    tokenizer.chat_template = (
        "{% for m in messages %}<end>{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<end>assistant: {% endif %}"
    )
    return tokenizer


def tiny_target(
    family: str = "llama", *, words: tuple[str, ...] = (), width: int = 32, layers: int = 2, seed: int = 0,
    sharp: float = 4.0, kinds: Mapping[str, Sequence[str]] | None = None,
) -> Target:  # fmt: skip
    """A random decoder of a family.

    Args:
        family: One of `FAMILIES`.
        words: What its tokenizer knows as single tokens.
        width: Of the residual stream.
        layers: Blocks.
        seed: Of its weights.
        sharp: How many times larger than usual its weights are: at 1 every prompt is answered alike.

        kinds: Words by kind: those of one kind get embeddings that are alike, so that kinds can be told from streams.

    Raises:
        ConfigError: An unknown family.
    """
    import transformers as hf

    if kinds is not None:
        words = tuple(dict.fromkeys([*words, *kinds, *(word for known in kinds.values() for word in known)]))
    tokenizer = word_tokenizer(words)
    common: dict[str, Any] = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1}
    usual = {
        **common, "hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": width // 4, "max_position_embeddings": 512,
    }  # fmt: skip
    made = {
        "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**usual)),
        "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**usual)),
        "gemma3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**usual, sliding_window=16)),
        "gpt2": lambda: hf.GPT2LMHeadModel(
            hf.GPT2Config(**common, n_embd=width, n_layer=layers, n_head=4, n_positions=512)
        ),
    }
    if family not in made:
        raise ConfigError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = made[family]()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data *= sharp
        table = model.get_input_embeddings().weight.data
        for known in (kinds or {}).values():
            shared = torch.randn(width)
            for word in known:
                for form in (f" {word}", word):
                    token = tokenizer(form)["input_ids"][0]
                    table[token] = table.std() * (shared + 0.3 * torch.randn(width))
    return Target(model.float(), tokenizer)
