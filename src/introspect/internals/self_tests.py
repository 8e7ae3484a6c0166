"""What is checked before anything is believed: that writes, soft tokens and patches do what they say, in this model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from introspect.errors import SelfTestError
from introspect.internals.clean_run import CleanRun
from introspect.internals.soft_map import SoftMap
from introspect.internals.soft_token import MARK, SoftToken, with_placeholders
from introspect.internals.target import Target
from introspect.internals.token_batch import TokenBatch
from introspect.internals.write import Write

__all__ = ["Check", "require", "self_test"]

_TEXTS = ("The colour of the sky is", "choose A B")


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: What must hold.
        passed: Whether it does.
        figure: What was measured.
    """

    name: str
    passed: bool
    figure: float

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}: {self.name} ({self.figure:.3g})"


def self_test(target: Target, soft: SoftToken | None = None, learned: SoftMap | None = None) -> tuple[Check, ...]:
    """Run all checks.

    Args:
        target: The model.
        soft: How vectors enter it; None where no vector does, and its checks are left out.
        learned: The map that is trained, if one is.

    Example:
        >>> from introspect.internals.tiny import tiny_target
        >>> all(check.passed for check in self_test(tiny_target(), SoftToken()))
        True
    """
    found = [_hooks_come_off(target), _patch_is_exact(target), _swap_is_the_other(target), _restart_is_whole(target)]
    if soft is not None and target.tokenizer is not None:
        found += [_vector_matters(target, soft), _zero_differs(target, soft), _gradient_arrives(target, soft, learned)]
    return tuple(found)


def require(checks: Sequence[Check]) -> None:
    """Refuse to go on where a check failed.

    Raises:
        SelfTestError: Naming what failed.
    """
    failed = [check for check in checks if not check.passed]
    if failed:
        raise SelfTestError(
            f"the model cannot be studied as it was loaded: {'; '.join(map(str, failed))}. Nothing is reported. See "
            f"docs/internals.md, Self-tests"
        )


def _texts(target: Target) -> TokenBatch:
    return target.encode(list(_TEXTS))


def _gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.float() - b.float()).abs().max())


def _tolerance(like: torch.Tensor) -> float:
    relative = 1e-4 if like.dtype == torch.float32 else 3e-2
    return relative * max(1.0, float(like.float().abs().max()))


def _noise(target: Target) -> torch.Tensor:
    made = torch.randn(target.width, generator=torch.Generator().manual_seed(0))
    return 5.0 * made


def _hooks_come_off(target: Target) -> Check:
    batch = _texts(target)
    before = target.logits(batch)
    hooks = _n_hooks(target)
    try:
        with target.writing(batch, [Write((0,), _noise(target))]):
            raise KeyError
    except KeyError:
        pass
    target.logits(batch, [Write((0,), _noise(target))])
    gap = _gap(before, target.logits(batch))
    return Check("writes come off again, also after an error", gap == 0 and _n_hooks(target) == hooks, gap)


def _n_hooks(target: Target) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in target.model.modules())


def _patch_is_exact(target: Target) -> Check:
    """Writing what is there anyway changes nothing; writing something else does."""
    batch, layer = _texts(target), target.n_layers // 2
    there = torch.from_numpy(target.read(batch, [layer])[:, 0])
    before = target.logits(batch)
    same, other = (target.logits(batch, [Write((layer,), v)]) for v in (there, there + _noise(target)))
    gap = _gap(before, same)
    return Check("a stream written where it was read changes nothing, another one does",
                 gap <= _tolerance(before) and _gap(before, other) > gap, gap)  # fmt: skip


def _swap_is_the_other(target: Target) -> Check:
    """A run patched with the whole stream of another run ends as the other run."""
    layer = target.n_layers // 2
    one, other = (target.encode([text]) for text in ("one two three four", "four three two one"))
    if one.width != other.width:
        one = other = target.encode(["one two three four"])
    with target.reading(other, [layer]) as streams:
        stream = streams[layer]
    places = [Write((layer,), stream[:, place], place) for place in range(one.width)]
    patched, wanted = target.logits(one, places), target.logits(other)
    gap = _gap(patched, wanted)
    return Check("a run with another run's whole stream in it ends as that one", gap <= _tolerance(wanted), gap)


def _restart_is_whole(target: Target) -> Check:
    batch, layer = _texts(target), target.n_layers // 2
    write = Write((layer,), _noise(target))
    whole = target.logits(batch, [write])
    gap = _gap(whole, CleanRun(target, batch, [layer]).logits([write]))
    return Check("a run begun at the patched block equals a whole run", gap <= _tolerance(whole), gap)


def _injected(target: Target, soft: SoftToken, vector: torch.Tensor, learned: SoftMap | None = None) -> torch.Tensor:
    ids, places = with_placeholders(target, f"The meaning of {MARK} is")
    batch = target.encode([ids])
    with soft.injecting(target, batch, [places], vector[None, None], learned):
        out: Any = target.run(batch)
    logits: torch.Tensor = out.logits[:, -1]
    return logits


def _vector_matters(target: Target, soft: SoftToken) -> Check:
    with torch.no_grad():
        gap = _gap(_injected(target, soft, _noise(target)), _injected(target, soft, -_noise(target)))
    return Check("another injected vector gives other logits", gap > 1e-6, gap)


def _zero_differs(target: Target, soft: SoftToken) -> Check:
    with torch.no_grad():
        gap = _gap(_injected(target, soft, _noise(target)), _injected(target, soft, torch.zeros(target.width)))
    return Check("a vector and no vector give other logits", gap > 1e-6, gap)


def _gradient_arrives(target: Target, soft: SoftToken, learned: SoftMap | None) -> Check:
    made = SoftMap(target.width, kind="scale+bias") if learned is None else learned
    vector = torch.randn(made.width, generator=torch.Generator().manual_seed(0))
    kept = {name: p.grad for name, p in made.named_parameters()}
    made.zero_grad()
    with torch.enable_grad():
        loss = torch.log_softmax(_injected(target, soft, vector, made).float(), -1)[0, 0]
        torch.autograd.backward([loss])
    grown = [float(p.grad.abs().max()) if p.grad is not None else 0.0 for p in made.parameters()]
    for name, parameter in made.named_parameters():
        parameter.grad = kept[name]
    return Check("gradients reach the map", max(grown) > 0 and all(g == g for g in grown), max(grown))
