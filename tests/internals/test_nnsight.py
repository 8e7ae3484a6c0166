"""Our hooks against nnsight's, exactly."""

from __future__ import annotations

import pytest
import torch

from introspect.internals import Write
from introspect.internals.tiny import FAMILIES, tiny_target

pytestmark = pytest.mark.slow
nnsight = pytest.importorskip("nnsight", reason="nnsight is not installed: pip install nnsight==0.8.1")


@pytest.mark.parametrize("family", FAMILIES)
def test_reads_and_patched_logits_equal_those_of_nnsight(family):
    target = tiny_target(family, layers=3)
    batch = target.encode(["one two three"])
    theirs = nnsight.NNsight(target.model)
    stack = theirs.transformer.h if family == "gpt2" else theirs.model.layers
    value = torch.randn(target.width, generator=torch.Generator().manual_seed(0))
    for layer in range(3):
        with theirs.trace(batch.ids):
            stack[layer].output[:, 4, :] = value
            patched = theirs.output.logits.save()
        # One column's product is not rounded as it is beside others, so theirs is also told to keep the last alone.
        with theirs.trace(batch.ids, logits_to_keep=torch.tensor([batch.width - 1])):
            stack[layer].output[:, 4, :] = value
            last = theirs.output.logits.save()
        with theirs.trace(batch.ids):
            stream = stack[layer].output.save()
        write = Write((layer,), value, 4)
        with torch.no_grad(), target.writing(batch, [write]):
            assert torch.equal(patched, target.run(batch).logits)
        assert torch.equal(last[:, -1], target.logits(batch, [write]))
        torch.testing.assert_close(patched[:, -1], target.logits(batch, [write]), rtol=1e-5, atol=1e-5)
        with target.reading(batch, [layer]) as streams:
            assert torch.equal(stream, streams[layer])
