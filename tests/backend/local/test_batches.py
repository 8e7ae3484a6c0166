from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.backend.local.batches import plan_batches, shared_prefix

prompts = st.lists(
    st.builds(
        lambda head, tail: [*head, *tail],
        st.sampled_from([[], [1] * 10, [1] * 30, [1] * 10 + [2] * 20, [3] * 40]),
        st.lists(st.integers(0, 3), min_size=1, max_size=6),
    ),
    max_size=25,
)


@given(prompts, st.integers(1, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_prompt_is_in_exactly_one_batch(prompts, size, share):
    batches = plan_batches(prompts, size=size, share=share)
    assert sorted(i for batch in batches for i in batch) == list(range(len(prompts)))
    assert all(1 <= len(batch) <= size for batch in batches)


@given(prompts)
@settings(max_examples=60, deadline=None)
def test_a_shared_beginning_is_shared_by_all_and_leaves_a_token_to_each(prompts):
    n = shared_prefix(prompts)
    assert all(p[:n] == prompts[0][:n] for p in prompts)
    assert all(len(p) > n for p in prompts) or n == 0


def test_prompts_of_one_context_are_run_together():
    contexts = [[c] * 60 for c in (5, 6, 7)]
    mixed = [[*contexts[i % 3], 100 + i] for i in range(24)]
    batches = plan_batches(mixed, size=32)
    assert sorted(len({i % 3 for i in batch}) for batch in batches) == [1, 1, 1]


def test_prompts_without_a_common_beginning_are_batched_by_length():
    unlike = [[i] * (10 if i % 2 else 200) for i in range(16)]
    for batch in plan_batches(unlike, size=8):
        assert len({len(unlike[i]) for i in batch}) == 1 or len(batch) == 1
