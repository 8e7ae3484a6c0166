"""All settings of one study of internals, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect._yaml import load_yaml_file
from introspect.backend.training import TrainingSpec
from introspect.errors import ConfigError
from introspect.internals.ablation import AblationSpec
from introspect.internals.explainer import ExplainerSpec
from introspect.internals.features import FeaturesSpec
from introspect.internals.patching import PatchingSpec
from introspect.internals.planted import PlantedSpec

__all__ = ["InternalsConfig", "Task"]

Task = Literal["planted", "features", "patching", "ablation"]


class InternalsConfig(Checked):
    """What is studied, on which model, with which explainer and against which floors.

    Attributes:
        task: "planted", "features", "patching" or "ablation".
        model: The target: a packaged model, a folder, a hub id.
        explainer: Another model that explains; None for the target itself.
        dtype: "float32", "bfloat16" or None for what the machine is good at.
        planted: How directions are planted.
        features: How features are found.
        patching: How patches are made.
        ablation: How input is removed.
        train: The explainer of tasks with a vector.
        tune: The training of the ablation task's explainer, through its model's own trainer.
        baselines: Which ones; see `introspect.internals.arms.BASELINES`.
        no_vector: Train a second explainer that never sees a vector: the floor.
        retrieval: Labels that a feature's is retrieved from.
        simulator: The name of a simulator that the features task scores labels with; see
            `introspect.internals.simulators`. None for none.
        most_test: At most so many test rows are asked, to bound the time.
        recheck: Rows computed anew after building.
        seed: Of wordings, candidates and intervals.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    model: str = "smollm2"
    explainer: str | None = None
    dtype: str | None = None
    planted: PlantedSpec = PlantedSpec()
    features: FeaturesSpec = FeaturesSpec()
    patching: PatchingSpec = PatchingSpec()
    ablation: AblationSpec = AblationSpec()
    train: ExplainerSpec = ExplainerSpec()
    tune: TrainingSpec = TrainingSpec(epochs=2, batch_size=16, learning_rate=5e-4, lora_rank=16)
    baselines: tuple[str, ...] = ("zero-shot", "few-shot", "SelfIE", "nearest neighbour", "linear probe", "majority")
    no_vector: bool = True
    retrieval: int = Field(default=20, ge=2)
    simulator: str | None = None
    most_test: int = Field(default=400, ge=1)
    recheck: int = Field(default=8, ge=0)
    seed: int = Field(default=0, ge=0)

    @classmethod
    def load(cls, path: Path | str, **changes: Any) -> InternalsConfig:
        """Read a YAML file.

        Args:
            path: The file.
            changes: Settings in place of the file's.

        Raises:
            ConfigError: It cannot be read, or a setting is wrong; the message names it.
        """
        found = load_yaml_file(path, "the settings in")
        if not isinstance(found, dict):
            raise ConfigError(f"{path} must map settings to values, for example: task: planted")
        return cls.of({**found, **changes})

    @classmethod
    def of(cls, values: dict[str, Any]) -> InternalsConfig:
        """Read settings.

        Raises:
            ConfigError: A setting is wrong; the message names it.

        Example:
            >>> InternalsConfig.of({"task": "planted", "sead": 3})
            Traceback (most recent call last):
            ...
            introspect.errors.ConfigError: InternalsConfig: unknown field 'sead', did you mean 'seed'? (known: ...
        """
        return cls.model_validate(values)

    def to_yaml(self) -> str:
        """All settings."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
