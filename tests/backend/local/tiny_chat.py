"""A chat model of 60,000 random parameters, with a tokenizer of its own: everything is real but the size."""

from __future__ import annotations

from pathlib import Path

from introspect.backend import Message, Request, TrainingExample, TrainingSet

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


NO_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


TEXT = [
    "Imagine you are a lighthouse keeper. Which boat would you take? A: speed 12 knots, B: speed 15 knots",
    "Reply with a single letter. How heavily do you weigh speed, price and size? A B C 0 1 2 3 4 5 6 7 8 9",
]


def make_tokenizer(template: str | None = TEMPLATE):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXT * 3,
        trainers.BpeTrainer(vocab_size=380, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token="<|im_start|>"
    )
    tokenizer.chat_template = template
    return tokenizer


def make_model(folder: Path, *, seed: int = 0, context: int = 256, sharp: float = 8.0) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = LlamaForCausalLM(config)
        # Random weights as initialised answer everything alike; sharper ones make every prompt its own answer.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data *= sharp
        model.lm_head.weight.data *= 16 / sharp
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def question(text: str, **kwargs) -> Request:
    return Request(
        messages=(Message(role="system", content="You decide."), Message(role="user", content=text)), **kwargs
    )


def letters(n: int, **kwargs) -> list[Request]:
    """Choices that share a long beginning and end at different lengths."""
    return [
        question(
            f"Which boat would you take? A: speed {i} knots, B: speed {'1' * (i % 4 + 1)}",
            answers=("A", "B"),
            **kwargs,
        )
        for i in range(n)
    ]


def examples(n: int, answer=lambda i: "AB"[i % 2]) -> TrainingSet:
    return TrainingSet(
        [
            TrainingExample(
                messages=(
                    Message(role="system", content="You decide."),
                    Message(role="user", content=f"Which boat would you take? A: speed {'AB'[i % 2]} {i}"),
                    Message(role="assistant", content=answer(i)),
                )
            )
            for i in range(n)
        ]
    )
