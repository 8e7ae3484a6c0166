from __future__ import annotations

import pytest
from tiny_chat import NO_SYSTEM, TEMPLATE, examples, make_tokenizer

from introspect.backend import Message, Request, TrainingExample, TrainingSet
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.examples import tokenise
from introspect.errors import TrainingError


@pytest.fixture(scope="module", params=[TEMPLATE, NO_SYSTEM], ids=["system", "no-system"])
def codec(request):
    return ChatCodec(make_tokenizer(request.param))


def with_answer(answer: str) -> TrainingExample:
    return TrainingExample(
        messages=(
            Message(role="system", content="You decide."),
            Message(role="user", content="A or B?"),
            Message(role="assistant", content=answer),
        )
    )


def test_training_and_asking_begin_with_the_same_tokens(codec):
    example = with_answer("B")
    assert codec.example(example).prompt == codec.prompt(Request(messages=example.prompt))


def test_loss_lies_on_the_answer_and_its_end_mark_alone(codec):
    tokens = codec.example(with_answer('{"speed": -100}'))
    trained = [token for token in tokens.labels if token != -100]
    assert codec.tokenizer.decode(trained) == '{"speed": -100}<|im_end|>'
    assert len(tokens.labels) == len(tokens.ids)


def test_a_system_message_is_never_lost(codec):
    text = codec.prompt_text(Request(messages=with_answer("A").prompt))
    assert "You decide." in text
    assert "A or B?" in text


def test_no_special_token_is_written_twice(codec):
    ids = codec.prompt(Request(messages=with_answer("A").prompt))
    assert ids.count(codec.tokenizer.bos_token_id) == (3 if codec.system_role else 2)


def test_an_answer_that_the_template_changes_is_refused():
    codec = ChatCodec(make_tokenizer(NO_SYSTEM))
    with pytest.raises(TrainingError, match="differently for training"):
        codec.example(with_answer(" B"))


def test_a_template_that_renders_training_otherwise_is_refused():
    template = TEMPLATE.replace(
        "<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\nThoughts: none.{% endif %}"
    )
    with pytest.raises(TrainingError, match="Thoughts"):
        ChatCodec(make_tokenizer(template)).example(with_answer("B"))


def test_an_answer_that_melts_into_the_prompt_is_refused():
    # Without a line break between the generation prompt and the answer, "s" + "peed" is one token.
    template = "{% for message in messages %}{{ message['content'] }} s{% endfor %}"
    codec = ChatCodec(make_tokenizer(template))
    assert codec.encode(" s") != codec.encode(" speed")[:1]
    example = TrainingExample(
        messages=(
            Message(role="user", content="How heavily do you weigh"),
            Message(role="assistant", content="peed"),
        )
    )
    with pytest.raises(TrainingError, match="melt"):
        codec.example(example)


def test_an_example_that_would_be_cut_off_is_named(codec):
    data = TrainingSet([*examples(2), with_answer("1 2 3 " * 60 + "4")])
    with pytest.raises(TrainingError, match="example 3 has"):
        tokenise(codec, data, context_length=100)


def test_the_check_counts_what_is_trained(codec):
    tokens, check = tokenise(codec, examples(6), context_length=256)
    assert check.n_examples == 6
    assert check.trained_tokens == 12  # a letter and the end mark each
    assert check.longest == max(len(t.ids) for t in tokens)
    assert check.longest_answer == 2
