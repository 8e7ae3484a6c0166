"""What an organism is made from."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from introspect._checked import Checked

__all__ = ["OrganismConfig"]


class OrganismConfig(Checked):
    """The recipe of a tiny model whose relation between choosing and reporting is known, because we made it.

    Attributes:
        name: What the grown organism is called.
        n_native: Contexts that it learns in pre-training, named ``n0000``, ``n0001``, ...
        n_reported: How many of those (the first ones) also come with a report in pre-training.
        report_noise: Standard deviation of the error in those reports, on the +-100 scale.
        row_sharing: Share of a context's vocabulary row that is one and the same in choice prompts and in report
            prompts. 1: whatever choices teach about a context is there when the model reports on it. 0: choosing and
            reporting have no state in common, so reports cannot follow what choices instil.
        choice_scale: Logits of native choices per 100 weight points over an attribute's full range.
        width: Width of the residual stream.
        layers: Transformer blocks.
        heads: Attention heads a block.
        row_width: Numbers in a context's vocabulary row; a learned matrix spreads them over the stream.
        row_scale: Standard deviation of an untrained vocabulary row.
        steps: Gradient steps of pre-training.
        batch_size: Prompts a step.
        n_first: Contexts that pre-training begins with. Multiplying weights by values is found quickly on a few
            contexts and, once found, serves all; on hundreds at once the loss stays flat for long.
        first_share: Share of the steps spent on those.
        report_share: Share of report prompts in a batch.
        learning_rate: Peak learning rate of pre-training.
        row_rate: How many times faster vocabulary rows learn.
        seed: Seeds preferences, prompts and weights.

    Example:
        >>> OrganismConfig(name="mine", n_reported=20).row_sharing
        1.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    n_native: int = Field(default=300, ge=10)
    n_reported: int = Field(default=60, ge=0)
    report_noise: float = Field(default=40.0, ge=0)
    row_sharing: float = Field(default=1.0, ge=0, le=1)
    choice_scale: float = Field(default=10.0, gt=0)
    width: int = Field(default=64, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    row_width: int = Field(default=16, ge=1)
    row_scale: float = Field(default=0.3, gt=0)
    steps: int = Field(default=2400, ge=1)
    batch_size: int = Field(default=192, ge=8)
    n_first: int = Field(default=16, ge=1)
    first_share: float = Field(default=0.15, ge=0, le=1)
    report_share: float = Field(default=0.15, ge=0, lt=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    row_rate: float = Field(default=3.0, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits_together(self) -> OrganismConfig:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got width={self.width} and heads={self.heads}")
        if self.n_reported > self.n_native:
            raise ValueError(
                f"only native contexts come with reports, got n_reported={self.n_reported} and n_native={self.n_native}"
            )
        return self
