"""The tiny chat model, as it is and with weights that can be trained."""

from __future__ import annotations

import pytest
from tiny_chat import make_model

from introspect.backend import ModelRef


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> ModelRef:
    """Reference to the tiny model."""
    folder = make_model(tmp_path_factory.mktemp("models") / "tiny")
    return ModelRef(provider="transformers", model=str(folder), settings={"dtype": "float32"})


@pytest.fixture(scope="session")
def mild(tmp_path_factory) -> ModelRef:
    """Reference to a tiny model with weights small enough to train."""
    folder = make_model(tmp_path_factory.mktemp("models") / "mild", sharp=4.0)
    return ModelRef(provider="transformers", model=str(folder), settings={"dtype": "float32"})
