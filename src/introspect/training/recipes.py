"""Training settings that are known to have taken, and where that is known from."""

from __future__ import annotations

from dataclasses import dataclass

from introspect.backend.training import TrainingSpec

__all__ = ["RECIPES", "Recipe", "recipe_for"]


@dataclass(frozen=True)
class Recipe:
    """Settings for one stage of one kind of model.

    Attributes:
        name: What they are called.
        instil: For choices.
        report: For reports; None where nothing is known.
        source: Who used them on what, and what came of it.
    """

    name: str
    instil: TrainingSpec
    report: TrainingSpec | None
    source: str


_7B = {"lora_rank": 64, "lora_alpha": 128, "extra": {"dropout": 0.05}}

RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe(
            "7b",
            TrainingSpec(epochs=3, batch_size=32, learning_rate=5e-5, schedule="cosine", **_7B),
            TrainingSpec(epochs=5, batch_size=8, learning_rate=2e-5, schedule="constant", **_7B),
            "J. Bejjani's replication on Qwen2.5-7B-Instruct (December 2025): learned against target r .85, choice "
            "agreement 82 %. A rate of 2e-4 with embedding noise failed there (r .06); the report stage at 1e-5 was a "
            "little weaker. The schedule of the first stage is our guess.",
        ),
        Recipe(
            "small",
            # Fresh choices once, not few choices often: a small model would learn those by heart.
            TrainingSpec(epochs=1, batch_size=8, learning_rate=5e-4, lora_rank=32, schedule="one-cycle"),
            TrainingSpec(epochs=3, batch_size=4, learning_rate=3e-4, lora_rank=32, schedule="one-cycle"),
            "Runs of ours on SmolLM2-135M: .88 of held-out choices of one context after 800 choices at 6.5e-4, most of "
            "them of extremes, both orders of a pair in one batch, values of one digit, an option a line; .83 after "
            "2,800 plain random ones. The first hundreds look like failure, and 4,800 choices of twenty contexts "
            "failed. A rate of 2e-3 did not take in 640 examples, nor all weights at 3e-4 "
            "(docs/results/smollm2-recipe.md). Rank 16 and 2e-4 over 3 epochs failed on models of 1 to "
            "4 billion parameters (Khalid and Bashir, November 2025: r .00 to .10).",
        ),
    )
}
"""Settings of trainings that took, by name; each says where it comes from."""


def recipe_for(n_parameters: int | None) -> Recipe:
    """The recipe of the nearest size that is known to have taken: from 3 billion parameters on that of 7 billion.

    Args:
        n_parameters: Of the model (`ModelInfo.n_parameters`); None where it is not known, as a large model.

    Example:
        >>> recipe_for(7_600_000_000).instil.learning_rate, recipe_for(135_000_000).name
        (5e-05, 'small')
    """
    return RECIPES["7b" if n_parameters is None or n_parameters >= 3_000_000_000 else "small"]
